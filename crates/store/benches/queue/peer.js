// graphile-worker: node peer.js URL first JOBS
//                  node peer.js URL along SECONDS ADDERS JOBS-A-CALL
// Prints how many jobs a second are added, taken and ended. Sixteen workers in this process do nothing with each.
const { run, runOnce, makeWorkerUtils, Logger } = require('graphile-worker');
const [connectionString, how, ...numbers] = process.argv.slice(2);
const quiet = new Logger(() => () => {});
const workers = { connectionString, concurrency: 16, maxPoolSize: 18, logger: quiet, noHandleSignals: true };
const now = () => Number(process.hrtime.bigint()) / 1e9;

// It has no function of its own for many jobs: this is what its documentation says to call.
const addJobs = (utils, jobs) => utils.withPgClient((client) => client.query(
  `SELECT graphile_worker.add_jobs(array(SELECT row('noop', '{}'::json, null, null, null, null, null, null)
     ::graphile_worker.job_spec FROM generate_series(1, $1)))`, [jobs]));

// All jobs are added by one call, and then taken.
async function first(utils, jobs) {
  const begun = now();
  await addJobs(utils, jobs);
  await runOnce({ ...workers, taskList: { noop: async () => {} } });
  return jobs / (now() - begun);
}

// Jobs are added while others are taken, by so many who add so many a call. They wait while a thousand jobs do: so they are
// not ahead of those who take, and these always have some.
async function along(utils, seconds, adders, batch) {
  let [added, done] = [0, 0];
  const runner = await run({ ...workers, taskList: { noop: async () => { done += 1; } } });
  const begun = now();
  const add = async () => {
    while (now() - begun < seconds) {
      if (added - done >= 1000) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      added += batch;
      await (batch === 1 ? utils.addJob('noop', {}) : addJobs(utils, batch));
    }
  };
  await Promise.all(Array.from({ length: adders }, add));
  const rate = done / (now() - begun);
  await runner.stop();
  return rate;
}

(async () => {
  const utils = await makeWorkerUtils({ connectionString, logger: quiet, maxPoolSize: 16 });
  await utils.migrate();
  const rate = await { first, along }[how](utils, ...numbers.map(Number));
  await utils.release();
  console.log(Math.round(rate));
  process.exit(0);
})().catch((fault) => { console.error(fault.message); process.exit(1); });
