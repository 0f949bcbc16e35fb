/* The Server-Timing header (W3C) of an answered prompt, and the bar that shows it. */
import { h } from './dom.js';
import { duration } from './format.js';

const meanings = {
    accept: 'taking the prompt in',
    queue: 'waiting for others to ride with',
    upstream: 'at the provider',
    split: 'taking the answer apart',
    commit: 'writing it down',
};

/** "accept;dur=0.1, queue;dur=900" @returns {{name: string, ms: number}[]} */
export function parseTiming(header) {
    return (header ?? '')
        .split(',')
        .map((part) => {
            const [name, ...parameters] = part.trim().split(';');
            const dur = parameters.map((p) => p.trim()).find((p) => p.startsWith('dur='));
            return { name: name.trim(), ms: Number(dur?.slice(4)) };
        })
        .filter(({ name, ms }) => name && Number.isFinite(ms) && ms >= 0);
}

/** A bar whose parts are as wide as they took long, and the same as a list of words. */
export function timingBar(parts) {
    const all = parts.reduce((sum, { ms }) => sum + ms, 0);
    if (!parts.length) return null;
    const bar = h('div.timing-bar', { 'aria-hidden': 'true' });
    for (const { name, ms } of parts) {
        const piece = h(`span.t-${name}`);
        piece.style.flexGrow = String(all ? ms / all : 0);
        bar.append(piece);
    }
    const list = h('ul.timing-list', { 'aria-label': 'Where the time went' },
        parts.map(({ name, ms }) =>
            h('li', { title: meanings[name] }, h(`span.swatch.t-${name}`, { 'aria-hidden': 'true' }), `${name} `, h('b', null, duration(ms)))));
    return h('div.timing', null, bar, list);
}
