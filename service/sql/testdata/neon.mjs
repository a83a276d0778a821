// Drives an unmodified @neondatabase/serverless against the URL in the first
// argument.
import { neon, neonConfig } from '@neondatabase/serverless'
import assert from 'node:assert'

neonConfig.fetchEndpoint = () => process.argv[2] + 'sql'
const sql = neon('postgresql://user:password@mayfly/main')
await sql`create table n (id serial primary key, name text not null, at timestamptz, data bytea, tags text[], doc jsonb, big bigint)`
const [row] = await sql`insert into n (name, at, data, tags, doc, big) values (${'one'}, ${new Date(1e12)}, ${Buffer.from([1, 255])}, ${['a', 'b']}, ${{ x: [1] }}, ${'9007199254740993'}) returning *`
assert.equal(row.id, 1)
assert.equal(row.at.getTime(), 1e12)
assert.deepEqual([...row.data], [1, 255])
assert.deepEqual(row.tags, ['a', 'b'])
assert.deepEqual(row.doc, { x: [1] })
assert.equal(row.big, '9007199254740993')
assert.equal((await sql`select ${null}::text as nothing`)[0].nothing, null)
const [, counted] = await sql.transaction([sql`insert into n (name) values ('two')`, sql`select count(*)::int as n from n`], { isolationLevel: 'Serializable' })
assert.equal(counted[0].n, 2)
await assert.rejects(sql.transaction([sql`insert into n (name) values ('three')`, sql`insert into n (name) values (null)`]), e => e.code === '23502' && e.column === 'name')
assert.equal((await sql`select count(*)::int as n from n`)[0].n, 2)
await assert.rejects(sql.transaction([sql`insert into n (name) values ('four')`], { readOnly: true }), e => e.code === '25006')
const full = await sql.query('update n set name = $1 where id = $2', ['uno', 1], { fullResults: true })
assert.equal(full.rowCount, 1)
assert.equal(full.command, 'UPDATE')
console.log('ok')
