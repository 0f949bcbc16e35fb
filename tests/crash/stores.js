'use strict';
/* The dumps of one or more machines (dump.c) as the history checker reads them. */

/* What is known of an id in the end, whichever machine knows it: the first of these. */
const STRONGEST = ['deleted', 'done', 'unknown', 'failed', 'dispatched', 'queued'];

function tablesOf(entries) {
    const of = (kind) => entries.filter((entry) => entry.kind === kind);
    return {
        meta: of('meta')[0],
        records: new Map(of('request').map((record) => [record.key, record])),
        chats: new Map(of('chat').map((chat) => [chat.id, chat])),
        unfinished: of('unfinished').map((entry) => entry.key),
        expiry: of('expiry'),
        cache: of('cache'),
        damaged: of('damaged'),
    };
}

/* One store of several: each id's record from the machine that knows most of it. conflicts: answers that differ. */
function merge(stores) {
    const records = new Map();
    const chats = new Map();
    const conflicts = [];
    const rank = ({ state }) => STRONGEST.indexOf(state);
    for (const store of stores) {
        for (const [key, record] of store.records) {
            const other = records.get(key);
            if (other?.state === 'done' && record.state === 'done') {
                const [one, two] = [chats.get(other.chat_id), store.chats.get(record.chat_id)];
                if (one?.answer !== two?.answer) conflicts.push({ key, why: 'has another answer on each of two machines' });
            }
            if (!other || rank(record) < rank(other)) records.set(key, record);
        }
        for (const [id, chat] of store.chats) chats.set(id, chat);
    }
    return { meta: stores[0]?.meta, records, chats, conflicts };
}

module.exports = { tablesOf, merge };
