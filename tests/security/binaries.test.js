'use strict';
/*
 * How the programs are compiled and linked, read from the files themselves (binutils): position independent, all
 * relocations read-only before main, no executable stack, code in pages of its own, stack protector, checked libc
 * calls, no search path for libraries. A program made without any of that must be found out, or the test says nothing.
 */
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '..', '..');
const BUILD = path.resolve(ROOT, process.env.BUILD || 'build/release');
const PROGRAMS = ['carpool.fcgi', 'carpoold', 'carpoolctl'].map((name) => path.join(BUILD, name)).filter(fs.existsSync);
const PAGE = 4096;

const readelf = (file, ...options) => execFileSync('readelf', ['-W', ...options, file], { encoding: 'utf8' });

const objdump = (file, name) => execFileSync('objdump', ['-d', `--disassemble=${name}`, file], { encoding: 'utf8' });

/* The LOAD segments: where in the file, how long, which rights. */
function segments(headers) {
    return [...headers.matchAll(/^ +LOAD +(0x\w+) +0x\w+ +0x\w+ +(0x\w+) +0x\w+ +([RWE ]{3})/gm)].map(
        ([, offset, size, rights]) => ({ from: Number(offset), to: Number(offset) + Number(size), rights }),
    );
}

/* No page of the file is mapped both as code and as data. */
function codeIsSeparate(all) {
    const code = all.filter((s) => s.rights.includes('E'));
    const pages = (s) => [Math.floor(s.from / PAGE), Math.ceil(s.to / PAGE)];
    return code.length > 0 && code.every((c) =>
        all.every((s) => s === c || pages(s)[1] <= pages(c)[0] || pages(c)[1] <= pages(s)[0]));
}

/* What is wrong with a program; empty for a good one. */
function faults(file) {
    const [header, dynamic, headers] = [readelf(file, '-h'), readelf(file, '-d'), readelf(file, '-l')];
    const symbols = readelf(file, '--dyn-syms');
    const found = [];
    const demand = (good, name) => good || found.push(name);
    demand(/Type: +DYN/.test(header) && /FLAGS_1.*\bPIE\b/.test(dynamic), 'PIE');
    demand(/GNU_RELRO/.test(headers), 'RELRO');
    demand(/BIND_NOW|FLAGS_1.*\bNOW\b/.test(dynamic), 'BIND_NOW');
    demand(/GNU_STACK.* RW +0x/.test(headers), 'NX');
    demand(!segments(headers).some((s) => /W/.test(s.rights) && /E/.test(s.rights)), 'W^X');
    demand(codeIsSeparate(segments(headers)), 'separate code');
    demand(/__stack_chk_fail/.test(symbols), 'canary');
    demand(/__(v?snprintf|memcpy|strcpy|read|fprintf)_chk/.test(symbols), 'fortify');
    demand(!/RPATH|RUNPATH/.test(dynamic), 'RPATH');
    demand(!/TEXTREL/.test(dynamic), 'TEXTREL');
    /* Not the note of the file: it is there only when the C library's start-up code has it, too. */
    if (process.arch === 'x64') demand(/endbr64/.test(objdump(file, 'main')), 'CET');
    return found;
}

test('the programs are there', () => assert.ok(PROGRAMS.length >= 2, `in ${BUILD}: ${PROGRAMS}`));
for (const program of PROGRAMS)
    test(`${path.basename(program)} is hardened`, () => assert.deepEqual(faults(program), []));

test('a program that is not is found out', (t) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-elf-'));
    t.after(() => fs.rmSync(dir, { recursive: true }));
    const source = path.join(dir, 'bare.c');
    fs.writeFileSync(source, '#include <stdio.h>\nint main(int n, char **v) { char b[9]; snprintf(b, 9 * n, "%s", *v); return *b; }\n');
    const bare = '-O1 -no-pie -fno-pie -fno-stack-protector -U_FORTIFY_SOURCE -fcf-protection=none -Wl,-z,norelro,-z,lazy,-z,execstack,-z,noseparate-code,-rpath,/tmp';
    const flags = bare.split(' ').filter((flag) => process.arch === 'x64' || !flag.startsWith('-fcf'));
    execFileSync(process.env.CC || 'cc', [...flags, '-o', path.join(dir, 'bare'), source], { stdio: 'ignore' });
    const expected = ['PIE', 'RELRO', 'BIND_NOW', 'NX', 'separate code', 'canary', 'fortify', 'RPATH', ...(process.arch === 'x64' ? ['CET'] : [])];
    assert.deepEqual(faults(path.join(dir, 'bare')), expected);
});
