//! Small image archives, made on the spot.
