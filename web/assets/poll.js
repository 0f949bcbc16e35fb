/*
 * Something that is done again and again while it is wanted and the tab can be seen. After a failure it waits longer and
 * longer; when the tab comes back, or the network does, it is done at once. A refusal for want of a key is not asked
 * for again: each would count as an error, and only the reader can change it.
 */

/**
 * @param {(signal: AbortSignal) => Promise<void>} work rejects to be tried again later
 * @param {number} everyMs
 * @param {{slowest?: number}} [options] the longest wait after failures, ms
 */
export function poll(work, everyMs, { slowest = 60000 } = {}) {
    let timer = null, running = null, wanted = false, failures = 0;

    const plan = (ms) => {
        clearTimeout(timer);
        if (wanted && !document.hidden) timer = setTimeout(turn, ms);
    };

    async function turn() {
        clearTimeout(timer);
        running?.abort();
        let refused = false;
        const mine = (running = new AbortController());
        try {
            await work(mine.signal);
            failures = 0;
        } catch (error) {
            failures++;
            refused = error.kind === 'key' || error.kind === 'forbidden';
        }
        if (running !== mine) return; /* another turn has begun, and plans the next */
        running = null;
        if (!refused) plan(failures ? Math.min(everyMs * 2 ** (failures - 1), Math.max(slowest, everyMs)) : everyMs);
    }

    const back = () => {
        if (wanted && !document.hidden) turn();
        else clearTimeout(timer);
    };
    document.addEventListener('visibilitychange', back);
    addEventListener('online', back);

    return {
        start() {
            if (wanted) return;
            wanted = true;
            turn();
        },
        stop() {
            wanted = false;
            clearTimeout(timer);
            running?.abort();
            running = null;
        },
        /** Once, now, whether it goes on afterwards or not. */
        now: turn,
        get running() {
            return wanted;
        },
    };
}
