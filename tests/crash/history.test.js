'use strict';
/* The history checker itself: a clean history passes, and each kind of damage to it is caught, by the invariant it
 * belongs to. */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const { History } = require('./history');
const { dispatchesOf } = require('./provider_log');

const SECRET = 'canary-of-a-secret';
const told = (id, prompt, text = `Answer to: ${prompt}`) => JSON.stringify({ request_id: id, text, batch_id: 'b' });
const fetched = (answer) => `{"request_id":"x","status":"done","response":${answer},"error":null}`;
const spoken = (words, end = 'data: [DONE]\n\n') =>
    words.map((content) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`).join('') + end;
const record = (key, state, more = {}) => ({ kind: 'request', key, state, repairs: 0, epoch: 1, expires_s: 9, ...more });

/* A history in the making: time is a counter of milliseconds. */
class Story {
    constructor() {
        this.history = new History({ secrets: [{ name: 'the key', text: SECRET }] });
        this.now = 0;
        this.calls = [];
        this.entries = [];
    }
    /* An attempt that took ms; how: a response, 'left', 'broke' or 'open'. */
    attempt(what, how, ms = 10) {
        const attempt = this.history.begin({ deadlineMs: 30000, ...what });
        if (how === 'left') attempt.left();
        else if (how === 'broke') attempt.broke(new Error('socket hang up'));
        else if (how !== 'open') attempt.answered({ headers: {}, ...how });
        attempt.start = this.now;
        this.now += ms;
        if (how !== 'open') attempt.end = this.now;
        this.now += 10;
        return attempt;
    }
    post(id, prompt, status, text = '{}', more = {}) {
        return this.attempt({ id, prompt, ...more }, { status, text });
    }
    get(id, status, text) {
        return this.attempt({ id, method: 'GET', path: `/v1/requests/${id}`, deadlineMs: 0 }, { status, text });
    }
    delete(id, status) {
        return this.attempt({ id, method: 'DELETE', path: `/v1/chat/${id}`, deadlineMs: 0 }, { status, text: '{}' });
    }
    /* A call of the provider for prompts. */
    call(prompts, more = {}) {
        const members = [].concat(prompts).map((prompt) => ({ prompt }));
        const answeredAt = this.now + 5;
        this.calls.push({
            n: this.calls.length,
            at: this.now,
            answeredAt,
            members,
            combined: members.length > 1,
            behaviour: 'ok',
            status: 200,
            sentWhole: true,
            ...more,
        });
        this.now += 10;
    }
    /* The store as it should be, from what there is: entries by key. */
    store(entries) {
        this.entries = entries;
        this.machines = [];
    }
    /* What another machine has in its store. */
    machine(entries) {
        this.machines.push(entries);
    }
    done(id, prompt, more = {}) {
        const chat = { kind: 'chat', id: `chat-${id}`, key: id, request_id: id, prompt, text: `Answer to: ${prompt}` };
        return [record(id, 'done', { chat_id: `chat-${id}`, ...more }), { ...chat, answer: told(id, prompt) }];
    }
    /* What was answered before, under an id of its own. */
    again(id, prompt) {
        const [done, chat] = this.done(id, prompt);
        return [done, { ...chat, cached: true }];
    }
    check() {
        const { history } = this;
        history.dispatches = [];
        history.addCalls(this.calls);
        history.setStores([[...this.entries, ...(this.extra ?? [])], ...this.machines].map(dumped));
        for (const unit of history.units) unit.key = unit.id;
        return history.check();
    }
}

/* A dump with these records and chats, and the tables that belong to them. */
function dumped(given) {
    const entries = [...given];
    for (const { key, state } of given.filter((e) => e.kind === 'request')) {
        entries.push({ kind: 'expiry', key, at_s: 9 });
        if (['queued', 'dispatched'].includes(state)) entries.push({ kind: 'unfinished', key });
    }
    const chats = given.filter((e) => e.kind === 'chat').length;
    const meta = given.find((e) => e.kind === 'meta');
    return meta ? entries : [...entries, { kind: 'meta', epoch: 1, chats, chats_by_request: chats }];
}

/* One of everything that may happen. */
function story() {
    const s = new Story();
    s.call('one');
    s.post('a', 'one', 200, told('a', 'one'));
    s.post('a', 'one', 200, told('a', 'one'));
    s.post('a', 'other body', 409);
    s.get('a', 200, fetched(told('a', 'one')));
    s.attempt({ id: 'a', prompt: 'one' }, 'left', 5);

    s.post('b', 'two', 202, '{}', { isAsync: true });
    s.get('b', 200, '{"request_id":"b","status":"queued","response":null,"error":null}');
    s.call(['two', 'three'], { behaviour: 'missing' });
    s.call('two');
    s.get('b', 200, fetched(told('b', 'two')));
    s.post('c', 'three', 200, told('c', 'three'));

    s.call('four', { status: 429, behaviour: 'status' });
    s.call('four', { status: 503, behaviour: 'status' });
    s.post('d', 'four', 503);
    s.call('four', { sentWhole: false, behaviour: 'hang' });
    s.post('d', 'four', 424);
    s.get('d', 200, '{"request_id":"d","status":"unknown","response":null,"error":{}}');

    s.history.outage({ part: 'lighttpd', front: true, from: s.now, to: s.now + 500 });
    s.attempt({ id: 'e', prompt: 'five' }, 'broke', 100);
    s.get('e', 404, '{}');
    s.post('g', 'one', 200, told('g', 'one'), { isEcho: true });

    s.call('deleted');
    s.post('z', 'deleted', 200, told('z', 'deleted'));
    s.delete('z', 200);
    s.post('z', 'deleted', 410);
    s.get('z', 410, '{}');
    s.delete('z', 404);
    s.store([
        record('z', 'deleted'),
        ...s.done('a', 'one'),
        ...s.done('b', 'two', { repairs: 1 }),
        ...s.done('c', 'three'),
        record('d', 'unknown'),
        ...s.again('g', 'one'),
        { kind: 'cache', key: 'of one', expires_s: 5, chat_id: 'chat-a' },
    ]);
    s.now += 1000;
    return s;
}

/* Damages the story and wants a violation of the rule that says what. */
function caught(rule, what, damage) {
    test(`${rule}: ${what}`, () => {
        const s = story();
        damage(s);
        const violations = s.check();
        const found = violations.filter((v) => v.rule === rule);
        assert.ok(found.length, `nothing of ${rule} among ${JSON.stringify(violations)}`);
    });
}
const entry = (s, kind, key) => s.entries.find((e) => e.kind === kind && e.key === key);

test('a clean history passes', () => assert.deepEqual(story().check(), []));
test('a history without a store is checked, too', () => {
    const s = story();
    s.history.addCalls(s.calls);
    assert.deepEqual(s.history.check(), []);
    s.post('a', 'one', 200, told('a', 'one', 'changed'));
    assert.ok(s.history.check().some((v) => v.rule === 'I1'));
});

describe('what was told', () => {
    caught('I1', 'a later answer differs in one byte', (s) => s.post('a', 'one', 200, `${told('a', 'one')} `));
    caught('I1', 'the answer fetched by id differs', (s) =>
        s.get('a', 200, fetched(told('a', 'one').replace('"b"', '"c"'))));
    caught('I1', 'a finished id is not found', (s) => s.get('a', 404, '{}'));
    caught('I1', 'a finished id is unknown later', (s) => s.post('a', 'one', 424));
    caught('I1', 'a finished id runs again', (s) =>
        s.get('a', 200, '{"request_id":"a","status":"running","response":null,"error":null}'));
    caught('I1', 'a finished id is refused for its own body', (s) => s.post('a', 'one', 409));
    caught('I1', 'another body is accepted under a finished id', (s) =>
        s.post('a', 'other body', 202, '{}', { isAsync: true }));
    caught('I1', 'the last replay does not say that it is one', (s) =>
        s.post('a', 'one', 200, told('a', 'one'), { mustSucceed: true }));
    caught('I1', 'the last replay is refused', (s) => s.post('a', 'one', 503, '{}', { mustSucceed: true }));
    caught('I1', 'an accepted id is not found', (s) => {
        s.post('f', 'six', 202, '{}', { isAsync: true });
        s.entries.push(record('f', 'unknown'));
        s.get('f', 404, '{}');
    });
    caught('I1', 'an accepted id is not in the store', (s) => s.post('f', 'six', 202, '{}', { isAsync: true }));
    caught('I1', 'an accepted id never runs', (s) => {
        s.post('f', 'six', 202, '{}', { isAsync: true });
        s.entries.push(record('f', 'queued'));
    });
    caught('I1', 'the store has no record of an answer', (s) =>
        s.store(s.entries.filter((e) => e.key !== 'a')));
    caught('I1', 'the store has another answer', (s) => (entry(s, 'chat', 'a').answer += ' '));
    caught('I1', 'an unknown outcome becomes an answer', (s) => s.post('d', 'four', 200, told('d', 'four')));
    caught('I1', 'an unknown outcome is not in the store', (s) => s.store(s.entries.filter((e) => e.key !== 'd')));
});

describe('what is told while it is written', () => {
    const stream = (s, words, end) =>
        s.attempt({ id: 's', prompt: 'seven', streams: true, path: '/v1/chat/completions' }, { status: 200, text: spoken(words, end) });
    const heard = (words, end) => {
        const s = story();
        s.call('seven');
        stream(s, ['Answer to', ': ', 'seven']);
        stream(s, ['Answer to: seven']);
        s.entries.push(...s.done('s', 'seven'));
        if (words) stream(s, words, end);
        return s.check().map((v) => v.rule);
    };
    test('the same answer in other pieces, and one that breaks off', () => {
        assert.deepEqual(heard(), []);
        assert.deepEqual(heard(['Answer'], ''), []);
        assert.deepEqual(heard(['Answer'], 'data: {"error":{"code":"outcome_unknown"}}\n\n'), []);
    });
    test('a word too few, a word too many, what is no event', () => {
        assert.ok(heard(['Answer to', 'seven']).includes('I1'));
        assert.ok(heard(['Answer to: ', 'seven', 'seven']).includes('I3'));
        assert.ok(heard([], 'data: {\n\ndata: [DONE]\n\n').includes('I4'));
    });
    test('says nothing where the filter took the answer, and nowhere else', () => {
        const silent = (behaviour) => {
            const s = story();
            s.call('seven', { streams: true, behaviour });
            stream(s, []);
            s.entries.push(...s.done('s', 'seven').map((e) => (e.text === undefined ? e : { ...e, text: '' })));
            return s.check().map((v) => v.rule);
        };
        assert.deepEqual(silent('filter'), []);
        assert.ok(silent('ok').includes('I3'));
    });
    test('breaks with a part, but not by itself', () => {
        const broken = (from, to) => {
            const s = story();
            s.now += 1000;
            s.history.outage({ part: 'a worker', from: s.now + from, to: s.now + to });
            s.attempt({ id: 's', prompt: 'seven', streams: true, path: '/v1/chat/completions' }, 'broke');
            return s.check().map((v) => v.rule);
        };
        assert.deepEqual(broken(0, 500), []);
        assert.deepEqual(broken(100, 500), ['I4']);
    });
});

describe('what was deleted', () => {
    caught('I1', 'an answer is gone and nobody asked', (s) => s.post('a', 'one', 410));
    caught('I1', 'a deleted answer comes back', (s) => s.post('z', 'deleted', 200, told('z', 'deleted')));
    caught('I1', 'a deleted id is not known any more', (s) => s.get('z', 404, '{}'));
    caught('I1', 'a deleted id is accepted again', (s) => s.post('z', 'deleted', 202, '{}', { isAsync: true }));
    caught('I1', 'a deleted id runs again', (s) => s.call('deleted'));
    caught('I1', 'a deleted chat is still in the store', (s) =>
        s.store([...s.entries.filter((e) => e.key !== 'z'), ...s.done('z', 'deleted')]));
    caught('I1', 'the store forgets an answer without being asked', (s) =>
        s.store([...s.entries.filter((e) => e.key !== 'a'), record('a', 'deleted')]));
    test('whether a deletion took place is open when its connection broke', () => {
        for (const entries of [(s) => s.entries, (s) => [...s.entries.filter((e) => e.key !== 'a'), record('a', 'deleted')]]) {
            const s = story();
            s.history.outage({ part: 'lighttpd', front: true, from: s.now, to: s.now + 500 });
            s.attempt({ id: 'a', method: 'DELETE', path: '/v1/chat/a', deadlineMs: 0 }, 'broke');
            s.store(entries(s));
            assert.deepEqual(s.check(), []);
        }
    });
});

describe('what is paid', () => {
    caught('I2', 'what was answered before is asked of the provider again', (s) => {
        s.call('one');
        s.post('h', 'one', 200, told('h', 'one'), { isEcho: true });
        s.entries.push(...s.done('h', 'one'));
    });
    caught('I2', 'an answered prompt is sent again', (s) => s.call('one'));
    caught('I2', 'a prompt with a part in an incomplete answer is sent again', (s) => s.call('three'));
    caught('I2', 'a lost call is sent again', (s) => s.call('four'));
    caught('I2', 'a lost call is sent again and then refused', (s) => s.call('four', { status: 429 }));
    caught('I2', 'a call whose connection broke is sent again', (s) => {
        s.call('six', { sentWhole: false, behaviour: 'reset_mid' });
        s.call('six');
        s.post('f', 'six', 200, told('f', 'six'));
        s.entries.push(...s.done('f', 'six'));
    });
    caught('I2', 'a call is sent while another for the same prompt runs', (s) => {
        s.call('six', { status: 503, answeredAt: s.now + 100 });
        s.call('six');
        s.post('f', 'six', 200, told('f', 'six'));
        s.entries.push(...s.done('f', 'six'));
    });
    caught('I2', 'too many repairs', (s) => {
        for (let i = 0; i < 5; i++) s.call('six', { behaviour: 'cut_body' });
        s.post('f', 'six', 502);
        s.entries.push(record('f', 'unknown', { repairs: 4 }));
    });
    caught('I2', 'a repair that is not recorded', (s) => (entry(s, 'request', 'b').repairs = 0));
    caught('I2', 'what was paid has no record', (s) => {
        s.call('six', { sentWhole: false });
        s.post('f', 'six', 503);
    });
    caught('I2', 'a prompt that nobody asked for', (s) => s.call('from nowhere'));
    test('as many repairs as are allowed pass', () => {
        const s = story();
        for (let i = 0; i < 4; i++) s.call('six', { behaviour: 'cut_body' });
        s.post('f', 'six', 424);
        s.entries.push(record('f', 'unknown', { repairs: 3 }));
        assert.deepEqual(s.check(), []);
    });
});

describe('whose answer', () => {
    caught('I3', 'an answer is given again to another trust group', (s) => {
        s.attempt({ id: 'h', prompt: 'three', group: 'other', isEcho: true }, { status: 200, text: told('h', 'three') });
        s.entries.push(...s.again('h', 'three'));
    });
    caught('I3', 'an answer is given again that nobody was given', (s) => {
        s.post('h', 'never sent', 200, told('h', 'never sent'));
        s.entries.push(...s.again('h', 'never sent'));
    });
    caught('I3', 'the answer of another id', (s) => s.post('f', 'six', 200, told('f', 'one')));
    caught('I3', 'an answer under the wrong id', (s) => s.post('a', 'one', 200, told('c', 'one')));
    caught('I3', 'the answer to another body of the id', (s) => s.post('a', 'other body', 200, told('a', 'one')));
    caught('I3', 'a chat with the text of another', (s) => (entry(s, 'chat', 'a').text = 'Answer to: two'));
    caught('I3', 'prompts of two callers in one call', (s) => {
        s.attempt({ id: 'g', prompt: 'mine', group: 'key-1' }, { status: 503, text: '{}' });
        s.attempt({ id: 'g', prompt: 'theirs', group: 'key-2' }, { status: 503, text: '{}' });
        s.call(['mine', 'theirs'], { status: 503 });
    });
});

describe('when it ends', () => {
    caught('I4', 'a request never ends', (s) => s.attempt({ id: 'f', prompt: 'six' }, 'open'));
    caught('I4', 'a request ends late', (s) => s.attempt({ id: 'f', prompt: 'six' }, { status: 504, text: '{}' }, 32100));
    caught('I4', 'a read takes long', (s) =>
        s.attempt({ id: 'a', method: 'GET', path: '/v1/requests/a', deadlineMs: 0 }, { status: 503, text: '{}' }, 2100));
    caught('I4', 'a connection breaks though the front lives', (s) => {
        s.now += 1000;
        s.history.outage({ part: 'coordinator', from: s.now, to: s.now + 500 });
        s.attempt({ id: 'f', prompt: 'six' }, 'broke');
    });
    caught('I4', 'an answer is no JSON', (s) => s.post('f', 'six', 200, '<html>'));
    caught('I4', 'an outage explains only its own time', (s) => {
        s.history.outage({ part: 'coordinator', from: s.now, to: s.now + 1500 });
        s.history.outage({ part: 'worker', from: s.now + 500, to: s.now + 2000 });
        s.attempt({ id: 'f', prompt: 'six' }, { status: 504, text: '{}' }, 34100);
    });
    test('an outage within a request is not held against it', () => {
        const s = story();
        s.history.outage({ part: 'coordinator', from: s.now, to: s.now + 3000 });
        s.attempt({ id: 'f', prompt: 'six' }, { status: 504, text: '{}' }, 34900);
        assert.deepEqual(s.check(), []);
    });
});

describe('what is secret', () => {
    caught('I5', 'a body with a secret', (s) => s.post('f', 'six', 400, JSON.stringify({ error: `key ${SECRET}` })));
    caught('I5', 'a header with a secret', (s) =>
        s.attempt({ id: 'f', prompt: 'six' }, { status: 400, text: '{}', headers: { 'x-debug': SECRET } }));
    caught('I5', 'a file with a secret', (s) => s.history.addLeaks([{ secret: 'the key', where: 's/logs/events.jsonl' }]));
});

describe('the tables of the store', () => {
    const odd = (what, damage) => caught('STORE', what, damage);
    odd('a finished request without a chat', (s) => (entry(s, 'request', 'a').chat_id = 'none'));
    odd('two chats of one request', (s) => s.entries.push({ ...entry(s, 'chat', 'a'), id: 'twin' }));
    odd('an answer that is given again and again', (s) => (entry(s, 'cache', 'of one').chat_id = 'chat-g'));
    odd('a damaged record', (s) => (s.extra = [{ kind: 'damaged', table: 'requests', key: 'a', why: 'cut' }]));
    odd('an unfinished entry of a finished record', (s) => (s.extra = [{ kind: 'unfinished', key: 'a' }]));
    odd('an expiry entry without a record', (s) => (s.extra = [{ kind: 'expiry', key: 'q', at_s: 9 }]));
    odd('a record that never expires', (s) => (entry(s, 'request', 'a').expires_s = 10));
});

describe("the provider's log", () => {
    const outcomes = (more, n = 2) =>
        dispatchesOf({
            n: 0,
            members: Array.from({ length: n }, (_, i) => ({ prompt: `p${i}` })),
            combined: n > 1,
            status: 200,
            sentWhole: true,
            behaviour: 'ok',
            ...more,
        }).map((d) => d.outcome);
    const cases = [
        ['ok', {}, ['answered', 'answered']],
        ['one missing', { behaviour: 'missing', missing: 1 }, ['answered', 'unanswered']],
        ['discarded whole', { behaviour: 'doubled' }, ['unanswered', 'unanswered']],
        ['429', { behaviour: 'status', status: 429 }, ['free', 'free']],
        ['502', { behaviour: 'status', status: 502 }, ['lost', 'lost']],
        ['never sent whole', { behaviour: 'ok', sentWhole: false }, ['lost', 'lost']],
        ['a refusal that did not get through', { behaviour: 'status', status: 429, sentWhole: false }, ['lost', 'lost']],
        ['still running', { sentWhole: undefined, status: undefined }, ['lost', 'lost']],
    ];
    for (const [what, call, wanted] of cases) test(what, () => assert.deepEqual(outcomes(call), wanted));
    test('a plain call knows no missing part', () =>
        assert.deepEqual(outcomes({ behaviour: 'missing' }, 1), ['answered']));
});

/* The story on two machines: what b was told, the other one has. */
function twoMachines() {
    const s = story();
    const ofB = s.entries.filter((e) => e.key === 'b');
    s.entries = s.entries.filter((e) => e.key !== 'b');
    s.machine([...ofB, record('d', 'failed')]);
    return s;
}

describe('several machines', () => {
    const running = '{"request_id":"a","status":"running","response":null,"error":null}';
    /* The same is said while a machine is away: only then it passes. */
    const passing = (what, say) => {
        caught('I1', what, (s) => say(Object.assign(s, { entries: twoMachines().entries, machines: twoMachines().machines })));
        test(`… but not while a machine was away: ${what}`, () => {
            const s = twoMachines();
            s.history.blur({ from: s.now, to: s.now + 50 });
            say(s);
            assert.deepEqual(s.check(), []);
        });
    };

    test('what is known is in one of the stores', () => assert.deepEqual(twoMachines().check(), []));
    passing('a finished id is unknown to the other', (s) => s.post('a', 'one', 424));
    passing('a finished id seems to run', (s) => s.get('a', 200, running));
    test('an answer that changes is a violation even then', () => {
        const s = twoMachines();
        s.history.blur({ from: s.now, to: s.now + 50 });
        s.post('a', 'one', 200, told('a', 'one', 'changed'));
        assert.ok(s.check().some((v) => v.rule === 'I1'));
    });
    test('two stores with different answers', () => {
        const s = twoMachines();
        const [one, chat] = s.done('a', 'one', { chat_id: 'another' });
        s.machine([one, { ...chat, id: 'another', answer: told('a', 'one', 'other') }]);
        assert.ok(s.check().some((v) => v.rule === 'STORE'));
    });
    test('a chat that one machine kept after its deletion', () => {
        const s = twoMachines();
        s.machine(s.done('z', 'deleted'));
        assert.ok(s.check().some((v) => v.rule === 'I1'));
    });
    test('what is damaged on the second machine', () => {
        const s = twoMachines();
        s.machine([{ kind: 'damaged', table: 'requests', key: 'a', why: 'cut' }]);
        assert.ok(s.check().some((v) => v.rule === 'STORE'));
    });
});
