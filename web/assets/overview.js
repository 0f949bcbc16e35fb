/* The first view: what this is, and a prompt to try. */
import { $, h, setFieldError, setText } from './dom.js';
import { getSettings, onKeyChange, sendPrompt } from './api.js';
import { count, duration, whole } from './format.js';
import { problem } from './problem.js';
import { parseTiming, timingBar } from './timing.js';

const SHOWN_MAX = 60;
const COUNTS = [1, 2, 4, 6, 12];
const levels = { HIGH: 'high', MEDIUM: 'medium', LOW: 'low' };
let waiting = null; /* AbortController of the prompts on their way */
let settings = null;
let refused = false; /* the settings, to the key in use */

function facts(json, seen) {
    const shared = seen.get(json.batch_id) ?? 1;
    return h('dl.facts', null,
        h('div', null, h('dt', null, 'Batch'), h('dd', null, h('code.batch-id', { title: json.batch_id }, json.batch_id), shared > 1 ? h('span.badge', null, `${whole(shared)} of these`) : null)),
        h('div', null, h('dt', null, 'Model'), h('dd', null, json.model ?? 'not said')),
        h('div', null, h('dt', null, 'Tokens'), h('dd', null, whole(json.tokens_used))),
        h('div', null, h('dt', null, 'Latency'), h('dd', null, duration(json.latency_ms))),
        h('div', null, h('dt', null, 'From the cache'), h('dd', null, json.cached ? 'yes: no call was made' : 'no')));
}

function answer(prompt, { json, response }, seen) {
    return h('li.result', null,
        h('p.asked', null, h(`span.chip.${levels[json.priority]}`, null, json.priority.toLowerCase()), h('span', null, prompt)),
        h('p.answered', null, json.text === '' ? h('em', null, 'The model answered with nothing.') : json.text),
        facts(json, seen), timingBar(parseTiming(response.headers.get('Server-Timing'))));
}

const failed = (prompt, error) => h('li.result.failed', null, h('p.asked', null, h('span', null, prompt)), problem(error));

/* All of them are on their way at once, or they would not meet. */
async function send(prompts, priority, fresh, signal) {
    const outcomes = await Promise.allSettled(prompts.map((prompt) => sendPrompt(prompt, priority, fresh, signal)));
    const seen = new Map();
    for (const { value } of outcomes)
        if (value && !value.json.cached) seen.set(value.json.batch_id, (seen.get(value.json.batch_id) ?? 0) + 1);
    const items = outcomes.map(({ value, reason }, i) => (value ? answer(prompts[i], value, seen) : failed(prompts[i], reason)));
    $('try-results').prepend(...items);
    while ($('try-results').children.length > SHOWN_MAX) $('try-results').lastChild.remove();
    return { answered: outcomes.filter(({ value }) => value).length, batches: seen.size };
}

function tell({ answered, batches }, all) {
    if (!answered) return all === 1 ? 'There is no answer; below it says why.' : 'There is no answer to any of them.';
    if (all === 1) return 'Answered.';
    if (!batches) return `${whole(answered)} of ${whole(all)} answered from the cache: no call was made.`;
    return `${whole(answered)} of ${whole(all)} answered, in ${count(batches, 'batch', 'batches')}.`;
}

function expectation(priority) {
    const window_ms = settings?.[`${priority.toLowerCase()}_priority`]?.window_ms;
    return window_ms ? `Waiting up to ${duration(window_ms)} for others to ride with, then for the model…` : 'On its way…';
}

async function submit(event) {
    event.preventDefault();
    if (waiting) return;
    const text = $('try-prompt').value.trim();
    setFieldError($('try-prompt'), text ? null : 'Please type a prompt.');
    if (!text) {
        $('try-prompt').focus();
        return;
    }
    const n = Number($('try-count').value);
    const priority = document.querySelector('[name=try-priority]:checked').value;
    const prompts = n === 1 ? [text] : Array.from({ length: n }, (_, i) => `${text} (${i + 1})`);
    waiting = new AbortController();
    $('try-send').setAttribute('aria-disabled', 'true');
    $('try-cancel').hidden = false;
    $('try-status').classList.add('busy');
    setText($('try-status'), expectation(priority));
    const told = tell(await send(prompts, priority, $('try-fresh').checked, waiting.signal), n);
    waiting = null;
    if (document.activeElement === $('try-cancel')) $('try-send').focus();
    $('try-send').removeAttribute('aria-disabled');
    $('try-cancel').hidden = true;
    $('try-status').classList.remove('busy');
    setText($('try-status'), told);
}

/* The rules in force, for who may see them; others see the defaults. */
async function showRules() {
    if (refused) return;
    try {
        settings = await getSettings();
    } catch (error) {
        refused = error.kind === 'key' || error.kind === 'forbidden';
        return;
    }
    for (const [i, name] of ['high', 'medium', 'low'].entries()) {
        const { window_ms, max_batch, policy } = settings[`${name}_priority`];
        const [, waits, size] = $('rules').tBodies[0].rows[i].cells;
        setText(waits, duration(window_ms) + (policy === 'adaptive' ? ', or not at all while the provider is idle' : ''));
        setText(size, whole(max_batch));
    }
    $('rules-note').replaceChildren('This is in force now; ', h('a', { href: '#settings' }, 'settings'), ' change it.');
}

export function start() {
    $('try-count').append(...COUNTS.map((n) => h('option', { value: n }, n === 1 ? 'once' : `${whole(n)} times`)));
    $('try-form').addEventListener('submit', submit);
    $('try-cancel').addEventListener('click', () => waiting?.abort());
    $('try-prompt').addEventListener('input', () => setFieldError($('try-prompt'), null));
    $('try-prompt').addEventListener('keydown', (event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            $('try-form').requestSubmit();
        }
    });
    onKeyChange(() => {
        refused = false;
        showRules();
    });
    setText($('curl-base'), new URL('.', location.href).href.replace(/\/$/, ''));
}

export function enter() {
    showRules();
}

export function leave() {}
