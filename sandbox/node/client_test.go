package node_test

import (
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox/process"
	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

func TestClient(t *testing.T) {
	for _, walls := range []string{process.WallsNone, process.WallsAuto} {
		t.Run(walls, func(t *testing.T) {
			p := sandboxtest.NewPlatform()
			spec := bundle(t, "app.handler", map[string]string{"app.mjs": clientCode})
			sandboxtest.TestClient(t, driverOver(t, sandboxtest.NewLauncher(t, walls, p.Door()), -1), spec, p, "MayflyError")
		})
	}
}

const clientCode = `
import { createRequire } from 'module';
import * as mayfly from 'mayfly';
const same = createRequire(import.meta.url)('mayfly').queue === mayfly.queue;
const failure = (p) => p.catch((e) => [e.name, e.code, e.message]);
const all = async (it) => { const list = []; for await (const x of it) list.push(x); return list };
export const handler = async () => {
	if (!same) throw new Error('require and import differ');
	const q = mayfly.queue('jobs'), kv = mayfly.kv('s');
	return [
		await q.send({ n: 1 }, { key: 'k', delay: '30s' }), await q.sendAll([1, 2]),
		await mayfly.topic('t').publish({ d: 1 }, { subject: 's', id: 'e1' }),
		await kv.get('none', 'd'), await kv.put('a/b c', { v: 1 }, { ttl: '1h' }), await kv.get('a/b c'), (await kv.entry('a/b c')).revision,
		await kv.put('raw', Buffer.from([0, 255])), [...(await kv.get('raw'))], await kv.delete('raw'), await kv.increment('n', 2),
		await all(kv.keys()), (await all(kv.entries())).map((e) => [e.key, Buffer.isBuffer(e.value) ? [...e.value] : e.value]),
		await failure(kv.put('a', 1, { revision: 3 })), await failure(mayfly.kv('nope').get('a')),
		await mayfly.secret('KEY'), (await mayfly.invoke('other', { x: 1 })).got, await mayfly.invoke('other', { x: 1 }, { wait: false }), await failure(mayfly.invoke('bad')),
	];
}`
