// Uses a PostgreSQL database by unmodified clients: Neon's over a WebSocket, and
// pg over the door of a function.
import { Pool, Client, neonConfig } from "@neondatabase/serverless";
import ws from "ws";
import pg from "pg";
import assert from "node:assert";

const [, , socket, url] = process.argv;
neonConfig.webSocketConstructor = ws;
neonConfig.wsProxy = () => socket;
neonConfig.useSecureWebSocket = false;

async function walk(pool) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("INSERT INTO t VALUES ($1, $2)", [5, "five"]);
    const { rows } = await client.query("SELECT v FROM t WHERE id = $1", [5]);
    assert.deepEqual(rows, [{ v: "five" }]);
    await client.query("ROLLBACK");
    await assert.rejects(client.query("SELECT * FROM nowhere"), { code: "42P01" });
    await client.query({ name: "by-id", text: "SELECT id FROM t WHERE id = $1", values: [1] });
    const again = await client.query({ name: "by-id", text: "SELECT id FROM t WHERE id = $1", values: [1] });
    assert.deepEqual(again.rows, [{ id: 1 }]);
  } finally {
    client.release();
  }
  const counts = await Promise.all(Array.from({ length: 20 }, (_, i) => pool.query("SELECT count(*)::int AS n, $1::int AS i FROM t", [i])));
  counts.forEach((r, i) => assert.deepEqual(r.rows, [{ n: 1, i }]));
  await pool.end();
}

await walk(new Pool({ connectionString: "postgresql://anyone:secret@mayfly/main" }));
await walk(new pg.Pool({ connectionString: url }));

neonConfig.pipelineConnect = false;
await walk(new Pool({ connectionString: "postgresql://anyone:secret@mayfly/main" }));
const stranger = new Client({ connectionString: "postgresql://anyone:wrong@mayfly/main" });
await assert.rejects(stranger.connect(), { code: "28P01" });
console.log("ok");
