-- The id of what something was done to, where it has one by which it is asked for. Servers of the version before note none.
ALTER TABLE audit ADD COLUMN reference TEXT;
