/* Pictures made of elements: horizontal bars, a divided bar, and ranges on a logarithmic line. */
import { h } from './dom.js';

const part = (tag, share) => {
    const element = h(tag);
    element.style.width = `${Math.max(share * 100, share > 0 ? 0.6 : 0)}%`;
    return element;
};

/** @param {{name: string, value: number, text: string, kind?: string}[]} rows */
export function horizontalBars(rows) {
    const top = rows.reduce((n, { value }) => Math.max(n, value), 1);
    return h('div.bars', null, rows.map(({ name, value, text, kind }) =>
        h('div.bar-row', null, h('span.bar-name', null, name), h('span.bar', null, part(kind ? `span.fill.${kind}` : 'span.fill', value / top)), h('span.bar-text', null, text))));
}

/** @param {{name: string, value: number, text: string, kind: string}[]} rows */
export function dividedBar(rows) {
    const all = rows.reduce((n, { value }) => n + value, 0);
    return h('div', null,
        h('div.divided', null, rows.filter(({ value }) => value > 0).map(({ value, kind }) => part(`span.fill.${kind}`, value / all))),
        h('ul.legend', null, rows.map(({ name, text, kind }) => h('li', null, h(`span.swatch.fill.${kind}`), `${name} `, h('b', null, text)))));
}

/**
 * Three marks on a line for each row, from fast to slow; the line is logarithmic, in powers of ten.
 * @param {{name: string, kind: string, marks: {label: string, value: number, text: string}[]}[]} rows
 * @param {(value: number) => string} format
 */
export function logRanges(rows, format) {
    const values = rows.flatMap(({ marks }) => marks.map(({ value }) => Math.max(value, 0.01)));
    const low = Math.floor(Math.log10(Math.min(...values)));
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
    const at = (value) => (Math.log10(Math.max(value, 0.01)) - low) / (high - low);
    const place = (element, share) => {
        element.style.left = `${share * 100}%`;
        return element;
    };
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => low + i);
    return h('div.ranges', null,
        rows.map(({ name, kind, marks }) => {
            const line = place(h(`span.reach.fill.${kind}`), at(marks[0].value));
            line.style.width = `${(at(marks.at(-1).value) - at(marks[0].value)) * 100}%`;
            return h('div.range-row', null, h('span.bar-name', null, name),
                h('div.range-line', null, line, marks.map(({ label, value, text }, i) => place(h(`span.mark.fill.${kind}.m${i}`, { title: `${label} ${text}` }), at(value)))),
                h('span.bar-text', null, marks.map(({ text }) => text).join(' · ')));
        }),
        h('div.range-row', null, h('span'), h('div.range-scale', null, ticks.map((t) => place(h('span', null, format(10 ** t)), (t - low) / (high - low)))), h('span.bar-text.hint', null, 'p50 · p90 · p99')));
}
