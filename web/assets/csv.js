/* Tables as comma-separated values (RFC 4180), for spreadsheets. */

/*
 * What a spreadsheet would take for a formula gets an apostrophe in front: prompts come from anybody. Some skip what is
 * blank before it, and take the wide letters of East Asia for the same. Numbers are numbers, also negative ones.
 */
const guarded = (text) => (/^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/.test(text) ? `'${text}` : text);

export function cell(value) {
    if (value === null || value === undefined) return '';
    if (typeof value === 'number') return String(value);
    const text = guarded(String(value));
    /* Spreadsheets divide at semicolons and tabs, too, and what stood behind one would begin a cell. */
    return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {string[]} head @param {Array<Array<string|number|null>>} rows */
export const csv = (head, rows) => [head, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');

/** Hands a file to the reader. The mark in front tells spreadsheets that it is UTF-8. */
export function download(name, text) {
    const url = URL.createObjectURL(new Blob(['\ufeff', text], { type: 'text/csv;charset=utf-8' }));
    const link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}
