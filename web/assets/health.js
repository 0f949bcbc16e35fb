/* /health: the card on the overview, and the notices above every view. */
import { $, h, setText } from './dom.js';
import { getHealth } from './api.js';
import { poll } from './poll.js';

const names = { coordinator: 'Coordinator', store: 'Store', provider: 'Provider', redis: 'Redis', kafka: 'Kafka' };
const states = { ok: 'Well', degraded: 'Degraded', down: 'Down' };
const parts = { ok: 'ok', idle: 'idle', down: 'down', disabled: 'not used' };
let shown = null;

function card(health) {
    const rows = Object.entries(health.dependencies).map(([name, { status, reason }]) =>
        h('div', null, h('dt', null, names[name] ?? name),
            h('dd', null, h(`span.state.${status}`, null, parts[status] ?? status), reason ? h('span.reason', null, reason) : null)));
    const state = h(`span.state.${health.status}`, { id: 'health-state' }, states[health.status] ?? health.status);
    $('health').replaceChildren(h('div.status-head', null, h('dt', null, 'Service'), h('dd', null, state)), ...rows);
    $('health').setAttribute('aria-busy', 'false');
}

function banners(list) {
    $('banners').replaceChildren(...list.map(({ kind, text }) => h(`p.banner.${kind}`, kind === 'bad' ? { role: 'alert' } : null, text)));
}

function notices(health) {
    const list = [];
    const reasons = Object.entries(health.dependencies)
        .filter(([, { status }]) => status === 'down')
        .map(([name, { reason }]) => `${names[name] ?? name}: ${reason ?? 'down'}.`);
    if (health.status === 'down') list.push({ kind: 'bad', text: `Prompts cannot be served now. ${reasons.join(' ')}` });
    else if (health.status === 'degraded') list.push({ kind: 'warn', text: `Something is amiss. ${reasons.join(' ')}` });
    return [...list, ...health.warnings.map((text) => ({ kind: /mock/.test(text) ? 'note' : 'warn', text }))];
}

function show(health) {
    const sign = JSON.stringify(health);
    if (sign === shown) return;
    shown = sign;
    card(health);
    banners(notices(health));
    $('curl-key').hidden = !health.auth?.key_needed;
    setText($('foot-version'), `${health.service} ${health.version}`);
    setText($('brand-name'), health.service);
}

function showError(error) {
    if (shown === error.message) return;
    shown = error.message;
    const text = error.kind === 'offline' ? 'Offline' : 'Away';
    $('health').replaceChildren(h('div.status-head', null, h('dt', null, 'Service'),
        h('dd', null, h('span.state.down', { id: 'health-state' }, text), h('span.reason', null, error.message))));
    $('health').setAttribute('aria-busy', 'false');
    banners([{ kind: 'bad', text: `${error.message} It is asked again by itself.` }]);
}

export function startHealth() {
    const watch = poll(async (signal) => {
        try {
            show(await getHealth(signal));
        } catch (error) {
            if (error.kind === 'stopped') return;
            showError(error);
            throw error;
        }
    }, 10000, { slowest: 10000 });
    watch.start();
    addEventListener('offline', () => watch.now());
    /* Another provider has other things to be warned of. The server renders this document four times a second. */
    document.addEventListener('settingssaved', () => setTimeout(() => watch.now(), 400));
}
