'use strict';
/*
 * How the fake provider behaves in the crash rounds: mostly well, and otherwise in every way that request ids have a
 * rule for. Probes are always answered at once, and calls of priority HIGH are never slow, so that the time until
 * carpool serves again is its own.
 */

const STATUSES = [
    [4, { status: 429 }],
    [1, { status: 429, retryAfter: 1 }],
    [3, { status: 500 }],
    [3, { status: 503 }],
    [2, { status: 502 }],
    [1, { status: 400 }],
].map(([weight, o]) => [weight, { do: 'status', ...o }]);
const BREAKS = ['reset_before', 'reset_mid', 'close_before'].map((name) => [1, { do: name }]);
const USELESS = ['doubled', 'extra', 'prose', 'cut_json', 'renamed', 'cut_body'].map((name) => [0.5, { do: name }]);

/* misbehave(random, moments)(call): a behaviour for FakeProvider.when(); moments hears "called" and "answering". */
function misbehave(random, moments) {
    const quick = () => ({ do: 'ok', ms: random.between(1, 60) });
    const behaviours = [
        [76, quick],
        ...[...STATUSES, ...BREAKS, ...USELESS].map(([weight, o]) => [weight, () => ({ ms: random.between(1, 80), ...o })]),
        [1, (call) => (call.members.length > 1 ? { do: 'swapped' } : quick())],
        [1, () => ({ do: 'filter' })],
        [3, (call) => ({ do: 'missing', ms: random.between(1, 80), index: random.between(0, call.members.length - 1) })],
        [3, (call) => (isUrgent(call) ? quick() : { do: 'ok', ms: random.between(200, 1500) })],
        [1, (call) => (isUrgent(call) ? quick() : { do: 'hang' })],
    ];
    const choose = (call) => {
        const some = (pattern) => call.members.some((m) => pattern.test(m.prompt ?? ''));
        if (some(/^probe /)) return { do: 'ok', ms: 2 };
        if (some(/^prompt of refused-/)) return { do: 'status', status: 400, ms: 2 };
        return random.weighted(behaviours)(call);
    };
    /* A stream takes its time, or breaks off. One of thousands of words comes as fast as it is read, or it would take minutes. */
    const isLong = (call) => call.members.some((m) => m.prompt?.length > 1000);
    const speak = (call, behaviour) => ({
        ...behaviour,
        pieceMs: isLong(call) ? 0 : random.between(0, 40),
        ...(random() < 0.1 && { after: random.between(1, 3), then: isUrgent(call) ? 'reset' : random.of(['reset', 'stall']) }),
    });
    return (call) => {
        const chosen = choose(call);
        const behaviour = call.streams && chosen.do === 'ok' ? speak(call, chosen) : chosen;
        moments.emit('called');
        setTimeout(() => moments.emit('answering'), behaviour.ms ?? 0);
        return behaviour;
    };
}

/* What the priorities ask for differs by their token limits only; prompts say it themselves. */
const isUrgent = (call) => call.members.some((m) => / HIGH$/.test(m.prompt ?? ''));

module.exports = { misbehave };
