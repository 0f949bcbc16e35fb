'use strict';
/* The reader of Prometheus's format refuses what it should: a lenient one would prove nothing of /metrics. */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { parseExposition } = require('./exposition');

const GOOD = [
    '# HELP a_total Things \\\\ with \\n in it.',
    '# TYPE a_total counter',
    'a_total{x="1",y="say \\"no\\" \\\\ \\n"} 3',
    'a_total{x="2",y=""} 0',
    '# HELP h_seconds Times.',
    '# TYPE h_seconds histogram',
    'h_seconds_bucket{p="z",le="0.5"} 1',
    'h_seconds_bucket{p="z",le="1"} 3',
    'h_seconds_bucket{p="z",le="+Inf"} 4',
    'h_seconds_sum{p="z"} 3.75',
    'h_seconds_count{p="z"} 4',
    '# HELP g Now.',
    '# TYPE g gauge',
    'g -1.5e-07',
    '# HELP none_total Nothing yet.',
    '# TYPE none_total counter',
];
const text = (lines) => `${lines.join('\n')}\n`;

test('what is right is read', () => {
    const m = parseExposition(text(GOOD));
    assert.equal(m.value('a_total', { x: '1' }), 3);
    assert.equal(m.families.get('a_total').samples[0].labels.y, 'say "no" \\ \n');
    assert.equal(m.value('g'), -1.5e-7);
    assert.equal(m.value('h_seconds_bucket', { le: '+Inf' }), 4);
    assert.equal(m.value('a_total', { x: '3' }), undefined);
    assert.throws(() => m.value('a_total'), /2 samples/);
});

const replaced = (from, to) => {
    const lines = GOOD.map((line) => line.replace(from, to));
    assert.notDeepEqual(lines, GOOD, `${from} replaces nothing`);
    return lines;
};
const without = (pattern) => GOOD.filter((line) => !pattern.test(line));
const after = (pattern, ...more) => GOOD.flatMap((line) => (pattern.test(line) ? [line, ...more] : [line]));

for (const [name, bad, reason] of [
    ['no HELP', without(/HELP g/), /TYPE does not follow/],
    ['no TYPE', without(/TYPE g/), /before its TYPE/],
    ['HELP alone at the end', without(/TYPE none/), /HELP without TYPE/],
    ['two HELP', after(/HELP g/, '# HELP g Now.'), /a family twice/],
    ['two TYPE', after(/TYPE g/, '# TYPE g gauge'), /TYPE does not follow/],
    ['a comment', after(/TYPE g/, '# nothing'), /neither HELP nor TYPE/],
    ['an empty line', after(/TYPE g/, ''), /no sample/],
    ['a family in two pieces', [...GOOD, 'g 2'], /another family/],
    ['an unknown type', replaced('g gauge', 'g untyped'), /unknown type/],
    ['a counter without _total', replaced(/a_total/, 'a'), /_total/],
    ['a gauge with _total', replaced('none_total counter', 'none_total gauge'), /_total/],
    ['a negative counter', replaced('} 3', '} -3'), /no value of a counter/],
    ['a counter that is not a number', replaced('} 3', '} NaN'), /no value of a counter/],
    ['a time stamp', replaced('} 3', '} 3 1700000000000'), /a bad (number|label)|no sample/],
    ['two spaces', replaced('} 3', '}  3'), /no sample/],
    ['a hexadecimal number', replaced('} 3', '} 0x3'), /bad number/],
    ['an unquoted label', replaced('x="2"', 'x=2'), /bad label/],
    ['a raw quote', replaced('say \\"no', 'say "no'), /bad label|comma/],
    ['a bad escape', replaced('\\n"}', '\\t"}'), /bad escape/],
    ['a bad name of a label', replaced('x="2"', '2x="2"'), /name of a label/],
    ['a reserved name of a label', replaced('x="2"', '__x="2"'), /name of a label/],
    ['a label twice', replaced('x="2",y', 'x="2",x'), /label twice/],
    ['a trailing comma', replaced('y=""}', 'y="",}'), /bad label/],
    ['a sample twice', replaced('x="2",y=""', 'y="say \\"no\\" \\\\ \\n",x="1"'), /sample twice/],
    ['milliseconds', replaced(/h_seconds/, 'h_ms'), /base unit/],
    ['no +Inf', without(/\+Inf/), /not \+Inf/],
    ['+Inf is not the count', replaced('le="+Inf"} 4', 'le="+Inf"} 5'), /not _count/],
    ['buckets that shrink', replaced('le="0.5"} 1', 'le="0.5"} 4'), /do not grow/],
    ['buckets out of order', replaced('le="0.5"', 'le="2"'), /do not grow/],
    ['no sum', without(/_sum/), /missing/],
    ['a sum that cannot be', replaced('3.75', '1.99'), /sum is not within/],
    ['a bucket without le', replaced(',le="1"', ''), /le belongs/],
    ['a carriage return', replaced('g -1.5e-07', 'g -1.5e-07\r'), /carriage return/],
])
    test(`refused: ${name}`, () => assert.throws(() => parseExposition(text(bad)), reason));

test('refused: an unfinished line', () =>
    assert.throws(() => parseExposition(text(GOOD).slice(0, -1)), /does not end/));
