/* Analytics: what was asked and what it took, in a range of days, and what goes on right now. */
import { $, h, setText } from './dom.js';
import { getAnalytics, getStats, onKeyChange } from './api.js';
import { dividedBar, horizontalBars, logRanges } from './bars.js';
import { loadCharts, makeBars } from './charts.js';
import * as chats from './chats.js';
import { LEVELS, LEVEL_TITLES, contents, now, shapes, tiles } from './figures.js';
import { dayLong, timeOfDay } from './format.js';
import { makePanel } from './panel.js';
import { poll } from './poll.js';
import { showProblem } from './problem.js';
import { customRange, dayOf, rangeOf } from './ranges.js';

const EVERY_MS = 5000;
const panels = new Map();
const pictures = new Map(); /* of panels that uPlot draws */
let choice = '7', custom = null;
let live = true, here = false;
let updater = null, updatedAt = null;
let uPlot; /* undefined: not asked for yet; null: not there */

const range = () => (choice === 'custom' && custom ? custom : rangeOf(choice === 'custom' ? '7' : choice, Date.now()));

/* ---- figures in boxes ---- */

/* Made once and then filled, so that a screen reader's place in them is kept. */
function showTiles(place, list) {
    if (place.children.length !== list.length)
        place.replaceChildren(...list.map(({ id, title, level }) =>
            h('div.tile', { id: `tile-${id}` }, h('dt', null, level ? h(`span.swatch.fill.${level}`, { 'aria-hidden': 'true' }) : null, title), h('dd', null, h('data.value'), h('span.note')))));
    for (const { id, raw, text, note } of list) {
        const tile = $(`tile-${id}`);
        const value = tile.querySelector('data');
        value.value = raw ?? '';
        setText(value, text);
        setText(tile.querySelector('.note'), note);
    }
}

function buildNow() {
    $('now').append(h('div.card-head', null, h('h2', { id: 'now-title' }, 'Right now'), h('p.hint', { id: 'now-note' })), h('dl.tiles.small', { id: 'now-tiles' }));
}

/* ---- pictures ---- */

const drawings = { divided: ({ rows }) => dividedBar(rows), bars: ({ rows }) => horizontalBars(rows), ranges: ({ rows, format }) => logRanges(rows, format) };

function drawStack(id, panel, picture) {
    if (uPlot === null) {
        panel.withoutPicture();
        return;
    }
    if (!uPlot) return; /* on its way; all is drawn when it is there */
    if (!pictures.has(id)) {
        const drawn = { points: [] };
        drawn.chart = makeBars(uPlot, panel.holder, (i) => panel.say(drawn.points[i] ?? ''));
        panel.explain(LEVELS.map((level) => ({ name: LEVEL_TITLES[level], kind: level })));
        pictures.set(id, drawn);
    }
    const drawn = pictures.get(id);
    drawn.points = picture?.points ?? [];
    drawn.chart.show(picture);
}

function draw(id, { empty, picture }) {
    const panel = panels.get(id);
    if (!picture) return;
    if (picture.kind === 'stack') drawStack(id, panel, empty ? null : picture);
    else panel.holder.replaceChildren(...(empty ? [] : [drawings[picture.kind](picture)]));
}

let lastContents = null;

function showPanels(all) {
    lastContents = all;
    for (const [id, content] of Object.entries(all)) {
        const { picture, ...rest } = content;
        if (panels.get(id).update(rest)) draw(id, content);
    }
}

async function startCharts() {
    if (uPlot !== undefined) return;
    uPlot = await loadCharts();
    $('charts-missing').hidden = uPlot !== null;
    if (lastContents) for (const [id, content] of Object.entries(lastContents)) draw(id, content);
}

/* ---- what is fetched ---- */

function rangeText({ from, to }) {
    if (!from) return 'Since ever';
    return from === to ? dayLong(from) : `${dayLong(from)} to ${dayLong(to)}`;
}

function showNote() {
    const state = updatedAt === null ? '' : live ? ` · updated ${timeOfDay(updatedAt)}, every ${EVERY_MS / 1000} s` : ` · paused, as of ${timeOfDay(updatedAt)}`;
    setText($('range-note'), `${rangeText(range())} (UTC)${state}`);
}

async function update(signal) {
    const asked = range();
    try {
        const [analytics, stats] = await Promise.all([getAnalytics(asked, signal), getStats(signal)]);
        showTiles($('tiles'), tiles(analytics));
        showTiles($('now-tiles'), now(stats));
        setText($('now-note'), stats.coordinator.status === 'ok' ? '' : `The coordinator is ${stats.coordinator.status}: ${stats.coordinator.reason}.`);
        showPanels(contents(analytics, asked, dayOf(Date.now())));
        $('nothing-yet').hidden = analytics.requests.total > 0;
        updatedAt = Date.now();
        showProblem($('analytics-problem'), null);
        $('analytics-body').classList.remove('stale');
        $('analytics-body').setAttribute('aria-busy', 'false');
        $('analytics-body').hidden = false;
        showNote();
        chats.serverIsThere();
    } catch (error) {
        if (error.kind === 'stopped') throw error;
        $('analytics-body').classList.add('stale');
        $('analytics-body').hidden = updatedAt === null;
        showProblem($('analytics-problem'), error, () => updater.now(), updatedAt === null ? null : `The figures are those of ${timeOfDay(updatedAt)}.`);
        throw error;
    }
}

/* ---- controls ---- */

function setLive(on) {
    live = on;
    $('live').setAttribute('aria-pressed', String(on));
    if (on && here) updater.start();
    else updater.stop();
    showNote();
}

function choose(event) {
    choice = event.target.value;
    $('custom-range').hidden = choice !== 'custom';
    if (choice === 'custom') {
        const { from, to } = rangeOf('30', Date.now());
        $('range-from').value ||= custom?.from ?? from;
        $('range-to').value ||= custom?.to ?? to;
        $('range-from').focus();
        if (!custom) return;
    }
    changed();
}

function changed() {
    showNote();
    updater.now();
    chats.rangeChanged();
}

function chooseCustom(event) {
    event.preventDefault();
    const { range: days, error, field } = customRange($('range-from').value, $('range-to').value);
    for (const end of ['from', 'to']) {
        if (field === end) $(`range-${end}`).setAttribute('aria-invalid', 'true');
        else $(`range-${end}`).removeAttribute('aria-invalid');
    }
    setText($('range-error'), error ?? '');
    $('range-error').hidden = !error;
    if (error) {
        $(`range-${field}`).focus();
        return;
    }
    custom = days;
    changed();
}

export function start() {
    buildNow();
    $('charts').before(
        h('p.empty', { id: 'nothing-yet', hidden: true }, 'Nothing was asked in these days. ', h('a', { href: '#overview' }, 'Try a prompt'), ', or choose other days.'),
        h('p.hint', { id: 'charts-missing', hidden: true }, 'Charts are not installed on this server (npm was not there when it was built), so you see tables.'));
    for (const shape of shapes) {
        const panel = makePanel(shape);
        panels.set(shape.id, panel);
        $('charts').append(panel.element);
    }
    updater = poll(update, EVERY_MS);
    $('ranges').addEventListener('change', choose);
    $('custom-range').addEventListener('submit', chooseCustom);
    $('live').addEventListener('click', () => setLive(!live));
    onKeyChange(() => here && updater.now());
    chats.start(range);
    setText($('live-label'), 'Live updates');
}

export function enter() {
    here = true;
    showNote();
    startCharts();
    if (live) updater.start();
    else updater.now();
    chats.enter();
}

export function leave() {
    here = false;
    updater.stop();
}
