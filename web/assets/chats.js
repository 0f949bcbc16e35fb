/* The last chats: the newest first, page by page, filtered by the server; a text is looked for in what is loaded. */
import { $, announce, h, setText } from './dom.js';
import { getChats, onKeyChange } from './api.js';
import { csv, download } from './csv.js';
import { count, duration, moment, whole } from './format.js';
import { showProblem } from './problem.js';
import { momentsOf } from './ranges.js';

const PAGE = 25;
const LEVELS = ['low', 'medium', 'high'];
let loaded = []; /* {chat, row, text} */
let filter = {};
let cursor = null;
let running = null, started = false;
let due = false; /* nothing is shown yet, for a reason that the view above tells */
let rangeNow = () => ({});

/** What a chat is searched by. */
const textOf = ({ request, response }) =>
    [request.prompt, response.text, request.username, request.request_id, response.model].filter(Boolean).join('\n').toLowerCase();

const line = (name, value) => (value === null || value === undefined || value === '' ? null : h('div', null, h('dt', null, name), h('dd', null, value)));

function content({ request, response, endpoint }) {
    return h('details.chat', null,
        h('summary', null, h('span.clamp', null, request.prompt === '' ? '(empty)' : request.prompt)),
        h('div.chat-body', null,
            request.system_prompt ? [h('h3', null, 'System prompt'), h('p.pre', null, request.system_prompt)] : null,
            h('h3', null, 'Prompt'), h('p.pre', null, request.prompt),
            h('h3', null, 'Answer'), h('p.pre', null, response.text === '' ? '(empty)' : response.text),
            h('dl.facts', null, line('Request id', h('code', null, request.request_id)), line('Endpoint', h('code', null, endpoint)), line('Model', response.model), line('From the cache', response.cached ? 'yes' : 'no'),
                line('Metadata', request.metadata ? h('code', null, JSON.stringify(request.metadata)) : null))));
}

function rowOf(chat) {
    const level = LEVELS[chat.request.priority];
    return h('tr', null,
        h('th', { scope: 'row' }, content(chat)),
        h('td', null, h('time', { datetime: chat.timestamp }, moment(chat.timestamp))),
        h('td', null, h(`span.chip.${level}`, null, level)),
        h('td', null, chat.request.username ?? h('span.hint', null, 'none')),
        h('td.num', null, h('data', { value: chat.response.tokens_used }, whole(chat.response.tokens_used))),
        h('td.num', null, duration(chat.response.latency_ms), chat.response.cached ? h('span.badge', null, 'cached') : null),
        h('td', null, h('code.short', { title: chat.batch_id }, h('span', { 'aria-hidden': 'true' }, chat.batch_id.slice(-6)), h('span.sr-only', null, chat.batch_id))));
}

const wantedText = () => $('chats-text').value.trim().toLowerCase();
const matching = () => loaded.filter(({ text }) => text.includes(wantedText()));

function showState() {
    const found = new Set(matching());
    for (const item of loaded) item.row.hidden = !found.has(item);
    const filtered = Object.keys(filter).length > 0;
    const text = !loaded.length ? (filtered ? 'No chat passes this search.' : 'No chats yet: every answered prompt will be one.')
        : wantedText() ? `${whole(found.size)} of ${count(loaded.length, 'loaded chat has', 'loaded chats have')} this text.`
            : `${count(loaded.length, 'chat', 'chats')}${cursor ? ', and there are older ones' : ''}.`;
    setText($('chats-status'), text);
    $('chats-table').hidden = found.size === 0;
    $('chats-more').hidden = !cursor;
    $('chats-csv').disabled = found.size === 0;
}

function readFilter() {
    const { from, to } = $('chats-range').checked ? momentsOf(rangeNow()) : {};
    const given = { username: $('chats-user').value.trim(), priority: $('chats-priority').value, from, to };
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

/* fresh: from the newest one; else the next page of the same search. */
async function load(fresh) {
    running?.abort();
    const mine = (running = new AbortController());
    if (fresh) filter = readFilter();
    setText($('chats-status'), 'Loading…');
    try {
        const page = await getChats({ order: 'newest', limit: PAGE, ...filter, cursor: fresh ? null : cursor }, mine.signal);
        due = false;
        if (fresh) loaded = [];
        const items = page.chats.map((chat) => ({ chat, row: rowOf(chat), text: textOf(chat) }));
        loaded.push(...items);
        cursor = page.next_cursor;
        const body = $('chats-table').tBodies[0];
        if (fresh) body.replaceChildren();
        body.append(...items.map(({ row }) => row));
        showProblem($('chats-problem'), null);
        showState();
        if (!fresh) items[0]?.row.querySelector('summary').focus();
    } catch (error) {
        if (error.kind === 'stopped') return;
        due = !loaded.length && ['key', 'forbidden', 'away', 'offline'].includes(error.kind);
        if (due) {
            setText($('chats-status'), 'They are shown as soon as the server gives them.');
            return;
        }
        showState();
        setText($('chats-status'), loaded.length ? $('chats-status').textContent : '');
        showProblem($('chats-problem'), error, () => load(fresh));
    }
}

function save() {
    const rows = matching().map(({ chat: { timestamp, batch_id, request, response, endpoint } }) => [timestamp, LEVELS[request.priority].toUpperCase(), request.username, request.request_id,
        request.prompt, response.text, response.model, response.tokens_used, response.latency_ms, String(response.cached), batch_id, endpoint]);
    download('carpool-chats.csv', csv(['answered', 'priority', 'username', 'request_id', 'prompt', 'answer', 'model', 'tokens', 'latency_ms', 'cached', 'batch_id', 'endpoint'], rows));
    announce(`${count(rows.length, 'chat', 'chats')} saved as CSV.`);
}

/** @param {() => {from?: string, to?: string}} range the days that the view shows */
export function start(range) {
    rangeNow = range;
    $('chats-filter').addEventListener('submit', (event) => {
        event.preventDefault();
        load(true);
    });
    $('chats-text').addEventListener('input', showState);
    $('chats-priority').addEventListener('change', () => load(true));
    $('chats-range').addEventListener('change', () => load(true));
    $('chats-reload').addEventListener('click', () => load(true));
    $('chats-more').addEventListener('click', () => load(false));
    $('chats-csv').addEventListener('click', save);
    onKeyChange(() => started && load(true));
}

export function enter() {
    started = true;
    if (!loaded.length) load(true);
}

/** The server has answered the view: it may give the chats, too. */
export function serverIsThere() {
    if (due) load(true);
}

export function rangeChanged() {
    if ($('chats-range').checked) load(true);
}
