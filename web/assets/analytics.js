export function start() {}
export function enter() {}
export function leave() {}
