'use strict';
/*
 * The fake provider's calls as the history checker sees them: one dispatch a prompt, with what it came to.
 *
 *   answered    a complete answer went out that has this prompt's part
 *   unanswered  a complete answer went out that cannot be used for this prompt: a repair may follow
 *   either      a complete answer that may be used or not
 *   free        refused completely: nothing was bought
 *   lost        all else: it may have been bought, and whoever asked cannot know
 */

/* Complete 200s that are no good for anybody in a combined call. */
const USELESS_COMBINED = ['doubled', 'extra', 'swapped', 'renamed', 'cut_json', 'prose', 'truncated'];
/* … and in any call. */
const USELESS = ['html', 'other_shape', 'empty_choices', 'cut_body'];
const UNCERTAIN = ['fenced', 'entry_shape', 'truncated', 'filter', 'filter_finish', 'shuffled'];

/* Statuses that say that nothing ran. */
const isFree = (status) => [301, 302, 307, 308, 500, 503].includes(status) || (status >= 400 && status <= 499);

function outcomeOf(call, index) {
    if (call.fault) return 'free';
    if (!call.sentWhole) return 'lost';
    if (call.status !== 200) return isFree(call.status) ? 'free' : 'lost';
    if (call.behaviour === 'ok') return 'answered';
    if (USELESS.includes(call.behaviour)) return 'unanswered';
    if (call.combined && call.behaviour === 'missing') return index === (call.missing ?? 0) ? 'unanswered' : 'answered';
    if (call.combined && USELESS_COMBINED.includes(call.behaviour)) return 'unanswered';
    if (UNCERTAIN.includes(call.behaviour)) return 'either';
    return call.combined ? 'either' : 'answered';
}

/* call: one of FakeProvider's. */
function dispatchesOf(call) {
    return call.members.map(({ prompt }, index) => ({
        prompt,
        call: call.n,
        companions: call.members.map((m) => m.prompt),
        at: call.at,
        answeredAt: call.answeredAt ?? Infinity,
        outcome: outcomeOf(call, index),
        /* A stream whose answer the provider's filter took: it ends well, and says nothing. */
        silent: Boolean(call.streams) && call.sentWhole && ['filter', 'filter_finish'].includes(call.behaviour),
        toString() {
            const when = (t) => (Number.isFinite(t) ? (t / 1000).toFixed(3) : '?');
            return `provider call ${call.n} ${when(this.at)}..${when(this.answeredAt)} of ${call.members.length}, ${call.behaviour}: ${this.outcome}`;
        },
    }));
}

module.exports = { dispatchesOf };
