/* Stacked bars by uPlot, which npm installs. Where it is not, there are none and the tables have to do. */
import { compact } from './format.js';

let loading = null;

/* The package has a small form (half of the module's bytes) only as a script, which leaves a global. */
const load = (name) =>
    new Promise((resolve, reject) => {
        const script = document.createElement('script');
        script.src = new URL(name, import.meta.url).href;
        script.onload = resolve;
        script.onerror = reject;
        document.head.append(script);
    });

/** @returns {Promise<Function|null>} uPlot, or null where it is not installed */
export function loadCharts() {
    loading ??= (async () => {
        try {
            await load('../vendor/uPlot.iife.min.js');
            const { uPlot } = globalThis;
            const sheet = document.createElement('link');
            sheet.rel = 'stylesheet';
            sheet.href = new URL('../vendor/uPlot.min.css', import.meta.url).href;
            document.head.append(sheet);
            return uPlot;
        } catch {
            return null;
        }
    })();
    return loading;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const STEPS = [1, 2, 5].flatMap((n) => Array.from({ length: 13 }, (_, e) => n * 10 ** e)).sort((a, b) => a - b);

/* Each bar is drawn from the ground, the tallest sum first, so that the next one covers its lower part. */
function stack(series) {
    const sums = [];
    let above = null;
    for (const { values } of [...series].reverse()) {
        above = values.map((value, i) => value + (above?.[i] ?? 0));
        sums.unshift(above);
    }
    return sums;
}

/* Every so many-th label, as many as have room. */
function labelSplits(labels, width) {
    const longest = labels.reduce((n, l) => Math.max(n, l.length), 1);
    const room = Math.max(1, Math.floor((width - 60) / (longest * 7 + 14)));
    const step = Math.max(1, Math.ceil(labels.length / room));
    return labels.map((_, i) => i).filter((i) => i % step === 0);
}

function options(uPlot, { series, labels }, size, onPoint) {
    const axis = { stroke: colour('--soft'), font: '12px system-ui, sans-serif', ticks: { show: false } };
    return {
        ...size,
        padding: [8, 28, 0, 0],
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: { x: { time: false, range: () => [-0.6, labels.length - 0.4] }, y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.05)] } },
        axes: [
            { ...axis, size: 30, grid: { show: false }, splits: (u) => labelSplits(labels, u.width), values: (_u, at) => at.map((i) => labels[i] ?? '') },
            { ...axis, size: 52, incrs: STEPS, grid: { stroke: colour('--line'), width: 1 }, values: (_u, at) => at.map((n) => compact(n)) },
        ],
        series: [{}, ...series.map(({ name, paint }) => ({
            label: name,
            width: 0,
            fill: colour(paint),
            points: { show: false },
            paths: uPlot.paths.bars({ size: [0.72, 64], radius: 0 }),
        }))],
        hooks: { setCursor: [(u) => onPoint(u.cursor.idx)] },
    };
}

/**
 * Keeps a picture of stacked bars in a place, as wide as the place is, in the colours of the theme.
 * @param {HTMLElement} holder
 * @param {(index: number|null) => void} onPoint told what the pointer is at
 */
export function makeBars(uPlot, holder, onPoint) {
    const HEIGHT = 220;
    let chart = null, data = null;

    const valuesOf = ({ labels, series }) => [labels.map((_, i) => i), ...stack(series)];

    const build = () => {
        chart?.destroy();
        chart = null;
        if (!data || !holder.clientWidth) return;
        chart = new uPlot(options(uPlot, data, { width: holder.clientWidth, height: HEIGHT }, onPoint), valuesOf(data), holder);
        /* For readers of the screen there is the sentence on the holder, and the table. */
        chart.root.setAttribute('aria-hidden', 'true');
    };
    new ResizeObserver(() => {
        if (!chart) build();
        else if (holder.clientWidth && chart.width !== holder.clientWidth) chart.setSize({ width: holder.clientWidth, height: HEIGHT });
    }).observe(holder);
    document.addEventListener('themechange', build);

    return {
        /** @param {{labels: string[], series: {name: string, paint: string, values: number[]}[]}|null} next */
        show(next) {
            const same = chart && next && next.labels.join('\n') === data.labels.join('\n');
            data = next;
            if (same) chart.setData(valuesOf(data)); /* what the pointer is at stays */
            else build();
        },
    };
}
