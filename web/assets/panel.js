/* A panel: a title, a picture, and the same figures as a table and as a CSV file. */
import { h, setText } from './dom.js';
import { csv, download } from './csv.js';

const LONG = 400; /* rows: more are not made before somebody opens the table */

/**
 * @typedef {{title: string, num?: boolean, format?: (value: *) => string, chip?: boolean}} Column
 * @typedef {{rows: Array<Array<string|number|null>>, summary: string, empty?: string|null}} Content
 *     rows are raw, as the CSV file has them; summary says in a sentence what the picture shows; empty: what is said
 *     instead of a picture
 */

const dataCell = (column, value) => {
    const text = column.format ? column.format(value) : String(value ?? '–');
    if (column.chip) return h(`span.chip.${String(value).toLowerCase()}`, null, text);
    return typeof value === 'number' ? h('data', { value }, text) : text;
};

function tableRow(columns, row) {
    return h('tr', null, row.map((value, i) => {
        const column = columns[i];
        const tag = i === 0 ? 'th' : 'td';
        return h(column.num ? `${tag}.num` : tag, i === 0 ? { scope: 'row' } : null, dataCell(column, value));
    }));
}

/**
 * @param {{id: string, title: string, columns: Column[], picture?: boolean, wide?: boolean, note?: string}} shape
 */
export function makePanel({ id, title, columns, picture = true, wide = false, note }) {
    let content = { rows: [] };
    let shown = '';
    const body = h('tbody');
    const caption = h('caption.sr-only', null, title);
    const table = h('table', null, caption,
        h('thead', null, h('tr', null, columns.map((c) => h(c.num ? 'th.num' : 'th', { scope: 'col' }, c.title)))), body);
    const scroll = h('div.scroll', { tabindex: 0, role: 'group', 'aria-label': `${title}: table` }, table);
    const details = picture ? h('details', { id: `${id}-table` }, h('summary', null, 'Table'), scroll) : scroll;
    let made = true;
    const makeRows = () => {
        made = true;
        body.replaceChildren(...content.rows.map((row) => tableRow(columns, row)));
    };
    details.addEventListener('toggle', () => made || makeRows());
    const holder = h('div.picture', { id: `${id}-picture` });
    const empty = h('p.empty', { hidden: true });
    const readout = h('p.readout');
    const legend = h('ul');
    const chartHead = h('div.chart-head', { 'aria-hidden': 'true', hidden: true }, legend, readout);
    const save = h('button.small', { type: 'button', id: `${id}-csv`, 'aria-label': `${title}: download as CSV`,
        onclick: () => download(`carpool-${id}.csv`, csv(columns.map((c) => c.title), content.rows)) }, 'CSV');
    const element = h(wide ? 'section.card.panel.wide' : 'section.card.panel', { id, 'aria-labelledby': `${id}-title` },
        h('div.card-head', null, h('h2', { id: `${id}-title` }, title), save), note ? h('p.hint', null, note) : null,
        picture ? [chartHead, holder] : null, empty, details);

    return {
        element,
        holder,
        /** What the pointer is at, in words. */
        say: (text) => setText(readout, text),
        /** Which colour is what. @param {{name: string, kind: string}[]} entries */
        explain(entries) {
            chartHead.hidden = false;
            legend.replaceChildren(...entries.map(({ name, kind }) => h('li', null, h(`span.swatch.fill.${kind}`), name)));
        },
        /** Charts cannot be drawn: the table is all there is, so it is open. */
        withoutPicture() {
            holder.hidden = chartHead.hidden = true;
            details.open = true;
        },
        /** @param {Content} next @returns {boolean} whether anything changed */
        update(next) {
            const sign = JSON.stringify(next);
            if (sign === shown) return false;
            shown = sign;
            content = next;
            setText(empty, next.empty ?? '');
            empty.hidden = !next.empty;
            details.hidden = Boolean(next.empty);
            save.disabled = Boolean(next.empty);
            element.classList.toggle('is-empty', Boolean(next.empty));
            holder.setAttribute('role', 'img');
            holder.setAttribute('aria-label', next.summary);
            made = false;
            if (!picture || details.open || next.rows.length <= LONG) makeRows();
            return true;
        },
    };
}
