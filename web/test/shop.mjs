// The app of the tests: a request's way through two languages, a queue, a failure
// and two stores, and one of each resource.
export const manifest = `
app: shop
kv: {carts: {}, done: {}}
queues:
  jobs: {attempts: 3, backoff: 10ms..20ms}
  mail: {attempts: 1}
buckets: {uploads: {}, receipts: {}}
databases: {main: {engine: sqlite, migrations: ./migrations}}
topics: {order.created: {}}
budget: {amount: 20, prices: lambda-x86}
alerts:
  busy: {expr: 'sum(rate(faas_invocations_total[1m])) > 100', for: 5m, severity: info, summary: '{{value}} calls/s'}
functions:
  hello:
    runtime: node
    source: ./src
    handler: index.handler
    env: {GREETING: hello}
    on: [{http: "GET /hello"}, {schedule: "0 3 * * *"}]
  failing:
    runtime: node
    source: ./src
    handler: index.failing
    on: [{queue: mail}, {topic: order.created}]
  outside:
    runtime: node
    source: ./src
    handler: index.handler
    on: [{mqtt: sensors/+, url: "mqtt://127.0.0.1:1"}]
  front:
    runtime: node
    source: ./src
    handler: index.front
    keep_alive: 1ms
    allow: [send queue/jobs]
    on: [{http: "POST /orders/{id}"}]
  work:
    runtime: python
    source: ./work
    handler: app.handler
    allow: [write kv/done, write bucket/receipts]
    on: [{queue: jobs}]
  filed:
    runtime: python
    source: ./work
    handler: app.filed
    on: [{bucket: receipts, events: [created]}]
`

export const node = `
exports.handler = async (event) => {
  console.log('hello from the console test')
  console.log(JSON.stringify({ level: 'warn', message: 'stock is low', item: 'chair', left: 2, user: { id: 42 } }))
  return { ok: true, greeting: process.env.GREETING }
}
exports.failing = async () => { throw new Error('no mail today') }
exports.front = async (event) => {
  console.log(JSON.stringify({ level: 'info', message: 'order accepted', order: event.pathParameters.id }))
  const url = process.env.MAYFLY_ENDPOINT + '/v1/apps/shop/queues/jobs/messages'
  const res = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ body: { order: event.pathParameters.id } }) })
  return { statusCode: res.ok ? 202 : 500, body: 'sent' }
}
`

export const python = `
import json, os, urllib.request

def handler(event, context):
    for record in event["Records"]:
        order = json.loads(record["body"])["order"]
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        print(f"order {order}, attempt {attempt}")
        if attempt == 1:
            raise ValueError("not at the first attempt")
        base = os.environ["MAYFLY_ENDPOINT"] + "/v1/apps/shop"
        put(base + "/kv/done/keys/" + order, b'{"done": true}', "application/json")
        put(base + "/buckets/receipts/objects/" + order + ".txt", b"paid", "text/plain")

def put(url, body, kind):
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind}, method="PUT")).read()

def filed(event, context):
    print("filed " + event["Records"][0]["s3"]["object"]["key"])
`

export const files = {
  'mayfly.yaml': manifest,
  'src/index.js': node,
  'work/app.py': python,
  'migrations/001_orders.sql': "create table orders (id integer primary key, what text not null, price real); insert into orders (what, price) values ('a chair', 49.5), ('a table', 120), ('a lamp', 15);",
}
