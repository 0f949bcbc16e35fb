'use strict';
/*
 * What is promised of request ids, as checks over a history (history.js, which describes its parts): each gets the
 * history and a function that takes a violation (who, what, evidence).
 */

/* Refusals that say nothing about the id: the request may come again. */
const PASSING = [429, 500, 502, 503, 504];

/* I1. What a client was told is never lost or changed, and the store says the same. */
function toldStays(history, violation) {
    for (const unit of history.units) {
        const words = unit.attempts.map((attempt) => wordOf(history, attempt));
        oneAnswer(unit, words, violation);
        nothingTakenBack(history, unit, words, violation);
        whatIsDeletedStaysSo(history, unit, words, violation);
        if (history.store) storeAgrees(history, unit, words, violation);
    }
}

/* While a machine is away, what it began is unknown to the others, or seems to run, until it is back. */
function wordOf(history, attempt) {
    const { word } = attempt;
    const isPassing = ['unknown', 'open'].includes(word.state) && history.isBlurred(attempt);
    return { attempt, ...word, ...(isPassing && { state: 'passing' }) };
}

function oneAnswer(unit, words, violation) {
    const done = words.filter((word) => word.state === 'done');
    const texts = new Set(done.map((word) => word.text));
    const bytes = new Set(done.filter((word) => 'bytes' in word).map((word) => word.bytes));
    if (texts.size > 1 || bytes.size > 1) violation(unit, 'two different answers were told');
    if (bytes.has(undefined)) violation(unit, 'an answer fetched later has another form than the one told');
    if (done.length && words.some((word) => word.state === 'unknown'))
        violation(unit, 'an answer was told, and also that the outcome is unknown');
}

/* Whoever asks after something was told must hear the same, or at most "not now". */
function nothingTakenBack(history, unit, words, violation) {
    const firstEnd = (state) => Math.min(...words.filter((w) => w.state === state).map((w) => w.attempt.end));
    const doneAt = firstEnd('done');
    const knownAt = Math.min(doneAt, firstEnd('promised'), firstEnd('unknown'));
    const answer = words.find((w) => w.state === 'done')?.text;
    for (const { attempt, state } of words) {
        const who = `client #${attempt.n}`;
        const later = (t) => attempt.start > t;
        const isOther = attempt.prompt !== undefined && history.answerOf(attempt.prompt) !== answer;
        if (later(knownAt) && state === 'missing') violation(unit, `${who} found nothing of what was told`);
        if (later(doneAt) && (state === 'open' || state === 'failed'))
            violation(unit, `${who} was told "${state}" of a finished request`);
        if (later(doneAt) && state === 'promised' && isOther) violation(unit, `${who} had another body accepted`);
        if (later(doneAt) && state === 'refused' && !PASSING.includes(attempt.status) && !(isOther && attempt.status === 409))
            violation(unit, `${who} got ${attempt.status} for a finished request`);
        if (attempt.mustSucceed && (attempt.error || state === 'refused'))
            violation(unit, `${who} was refused though nothing was in the way`);
        if (attempt.mustSucceed && !attempt.isRead && state === 'done' && !attempt.replayed)
            violation(unit, `${who} was not told that this is a replay`);
    }
}

/* A chat goes only when somebody asked for that, and then for good. */
function whatIsDeletedStaysSo(history, unit, words, violation) {
    const asked = Math.min(...unit.attempts.filter((a) => a.isDeletion).map((a) => a.start));
    const gone = Math.min(...words.filter((w) => w.state === 'gone').map((w) => w.attempt.end));
    if (gone < asked) violation(unit, 'its answer is gone and nobody asked for that');
    for (const { attempt, state } of words) {
        const isOver = ['gone', 'other', 'none', 'passing'].includes(state) || history.isBlurred(attempt);
        if (attempt.start > gone && !isOver && !PASSING.includes(attempt.status))
            violation(unit, `client #${attempt.n} got ${attempt.status} for a request that was deleted`);
    }
    for (const dispatch of unit.dispatches)
        if (dispatch.at > gone) violation(unit, `call ${dispatch.call} was sent after the answer was deleted`);
}

function storeAgrees(history, unit, words, violation) {
    const { record } = unit;
    const states = new Set(words.map((word) => word.state));
    const chat = record && history.store.chats.get(record.chat_id);
    const isDeleted = record?.state === 'deleted' && unit.attempts.some((a) => a.isDeletion);
    if (states.has('gone')) {
        if (record?.state !== 'deleted' || unit.chats.length) violation(unit, `deleted, but the store has ${record?.state ?? 'nothing'}`);
    } else if (states.has('done') && !isDeleted) {
        if (record?.state !== 'done' || !chat) violation(unit, `told, but the store has ${record?.state ?? 'nothing'}`);
        else if (words.some((w) => w.state === 'done' && (w.bytes ?? chat.answer) !== chat.answer))
            violation(unit, 'the store has another answer than was told');
        else if (words.some((w) => w.state === 'done' && w.text !== chat.text))
            violation(unit, 'the store has another text than was told');
    } else if (states.has('unknown') && !['unknown', 'dispatched'].includes(record?.state))
        violation(unit, `told that the outcome is unknown, but the store has ${record?.state ?? 'nothing'}`);
    if (!states.has('promised')) return;
    if (!record) violation(unit, 'accepted with 202, but the store has nothing');
    else if (history.settled && record.state === 'queued') violation(unit, 'accepted with 202 and never run');
}

/* I2. At most one paid dispatch an id; repairs after a complete answer counted apart, and recorded before. */
function paidOnce(history, violation) {
    for (const unit of history.units) {
        let last = null;
        let paid = null;
        let repairs = 0;
        for (const dispatch of unit.dispatches) {
            if (last && last.outcome !== 'lost' && dispatch.at < last.answeredAt)
                violation(unit, `call ${dispatch.call} was sent while call ${last.call} ran`);
            if (paid && ['answered', 'lost'].includes(paid.outcome))
                violation(unit, `call ${dispatch.call} was sent after call ${paid.call}, which was paid: ${paid.outcome}`);
            else if (paid && dispatch.outcome !== 'free') repairs++;
            last = dispatch;
            if (dispatch.outcome !== 'free') paid = dispatch;
        }
        if (repairs > history.retryAttempts) violation(unit, `${repairs} repairs, ${history.retryAttempts} are allowed`);
        if (paid && history.store) paidIsRecorded(unit, repairs, violation);
    }
    for (const dispatch of history.strangers)
        violation(`call ${dispatch.call}`, `nobody asked for "${dispatch.prompt}"`, [String(dispatch)]);
}

/* What was paid for and is not in the store could be paid for again. */
function paidIsRecorded(unit, repairs, violation) {
    if (!unit.key) return; /* an id that the server made and could not tell anybody */
    if (!unit.record) violation(unit, 'paid for, but the store has no record of it');
    else if (unit.record.state === 'queued') violation(unit, 'paid for, but the store says that it waits to be sent');
    else if (unit.record.state !== 'deleted' && unit.record.repairs < repairs)
        violation(unit, `${repairs} repairs were sent, ${unit.record.repairs} are recorded`);
}

/* I3. Every answer belongs to its id, and nobody's prompt stands in a call of another trust group. */
function answersBelong(history, violation) {
    for (const unit of history.units) {
        const own = new Set([...unit.prompts].map(history.answerOf));
        const isSilent = (text) => text === '' && unit.dispatches.some((dispatch) => dispatch.silent);
        for (const attempt of unit.attempts) {
            const { state, text, id } = attempt.word;
            if (state !== 'done') continue;
            const fits = attempt.prompt === undefined ? own.has(text) : text === history.answerOf(attempt.prompt);
            if (!fits && !isSilent(text)) violation(unit, `client #${attempt.n} got the answer to another prompt`);
            if (id !== undefined && id !== unit.id) violation(unit, `client #${attempt.n} got the answer of the id ${id}`);
        }
        for (const chat of unit.chats)
            if (chat.request_id !== unit.id || !unit.prompts.has(chat.prompt) || (chat.text !== history.answerOf(chat.prompt) && !isSilent(chat.text)))
                violation(unit, `the chat ${chat.id} belongs to another request`);
        for (const chat of unit.chats) if (chat.cached) givenAgain(history, unit, chat, violation);
    }
    for (const dispatch of history.dispatches) {
        const groups = new Set(dispatch.companions.map((prompt) => history.byPrompt.get(prompt)?.group));
        if (groups.size > 1) violation(`call ${dispatch.call}`, 'prompts of several trust groups in one call', [String(dispatch)]);
    }
}

/* What is given again was bought by somebody of the same trust group. */
function givenAgain(history, unit, chat, violation) {
    const owner = history.byPrompt.get(chat.prompt);
    if (owner?.group !== unit.group) violation(unit, `the chat ${chat.id} has the answer of another trust group`);
    else if (!owner.dispatches.some((dispatch) => dispatch.outcome === 'answered'))
        violation(unit, `the chat ${chat.id} is said to be given again, but nobody was given it before`);
}

/* I4. Every request ends by its deadline and the grace time; what parts were dead or stopped meanwhile is theirs. A
 * connection breaks only when the front was killed, or a part while a stream was told. */
function everyRequestEnds(history, violation) {
    for (const attempt of history.attempts) {
        const who = `client #${attempt.n}`;
        const evidence = [String(attempt)];
        if (attempt.gone) continue;
        if (attempt.end === null) {
            violation(who, 'never ended', evidence);
            continue;
        }
        const outages = history.outagesIn(attempt.start, attempt.end);
        const theirs = overlap(outages, attempt.start, attempt.end);
        const took = attempt.end - attempt.start - theirs;
        const most = (attempt.deadlineMs ?? 0) + history.graceMs;
        if (took > most)
            violation(who, `took ${took.toFixed(0)} ms of ${most} (and ${theirs.toFixed(0)} ms of outages)`, evidence);
        else if (attempt.error && !outages.some((o) => o.front || attempt.streams)) violation(who, 'broke though the front lived', evidence);
        else if (attempt.word.state === 'unreadable') violation(who, 'ended with something that is no JSON', evidence);
    }
}

/* How much of from..to the outages cover together. */
function overlap(outages, from, to) {
    let covered = 0;
    let until = from;
    for (const o of [...outages].sort((a, b) => a.from - b.from)) {
        const begin = Math.max(o.from, until);
        const end = Math.min(o.to, to);
        if (end > begin) covered += end - begin;
        until = Math.max(until, end);
    }
    return covered;
}

/* I5. No secret outside the key file. */
function secretsStay(history, violation) {
    for (const { secret, where } of history.leaks) violation(secret, `stands in ${where}`, []);
}

/* The tables of each store fit each other, and no two stores have different answers. */
function storeIsWhole(history, violation) {
    for (const store of history.stores) tablesFit(store, violation);
    for (const { key, why } of history.store?.conflicts ?? []) violation(`key ${key}`, why, []);
}

function tablesFit(store, violation) {
    const { records, chats, unfinished, expiry, damaged, meta } = store;
    const say = (key, what) => violation(`key ${key}`, what, []);
    for (const { table, key, why } of damaged) say(key, `the table ${table} is damaged: ${why}`);
    const open = new Set(unfinished);
    const expires = new Map(expiry.map((entry) => [entry.key, entry.at_s]));
    for (const [key, record] of records) {
        const isOpen = ['queued', 'dispatched'].includes(record.state);
        if (isOpen !== open.has(key)) say(key, `is ${record.state} and ${isOpen ? 'not ' : ''}among the unfinished`);
        if (expires.get(key) !== record.expires_s) say(key, 'does not expire when its record says');
        const chat = chats.get(record.chat_id);
        if (record.state === 'done' && chat?.key !== key) say(key, 'is done and has no chat of its own');
    }
    for (const key of [...open, ...expires.keys()]) if (!records.has(key)) say(key, 'is listed and has no record');
    if (expires.size !== expiry.length) say('of several', 'expire twice');
    cacheIsWhole(store, say);
    const owners = new Set();
    for (const chat of chats.values()) {
        if (owners.has(chat.key)) say(chat.key, 'has two chats');
        owners.add(chat.key);
    }
    if (meta && (meta.chats !== chats.size || meta.chats_by_request !== chats.size))
        say('of all', `${chats.size} chats, but the tables count ${meta.chats} and ${meta.chats_by_request}`);
}

/* An entry points to an answer that was bought (unless that was deleted). */
function cacheIsWhole({ cache, chats }, say) {
    for (const { key, chat_id } of cache) if (chats.get(chat_id)?.cached) say(key, 'gives again what was given again');
}

const INVARIANTS = {
    I1: toldStays,
    I2: paidOnce,
    I3: answersBelong,
    I4: everyRequestEnds,
    I5: secretsStay,
    STORE: storeIsWhole,
};

module.exports = { INVARIANTS };
