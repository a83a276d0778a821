import { query, useData } from '../data'
import { brief, duration, percent } from '../format'
import { AppFilter, Filters, Load, Nothing, Page, Table } from '../parts'
import { go, param } from '../router'

interface Edge { from: string; to: string; calls: number; failed: number; mean_ns: number }

/** Who calls what: callers on the left, what they reach to their right. */
export function ServiceMap() {
  const map = useData<{ edges: Edge[] }>(`/v1/stats/map${query({ app: param('app') })}`, 5000)
  return (
    <Page title="Service map" aside={<Filters><AppFilter /></Filters>}>
      <Load from={map}>{({ edges }) => edges.length === 0
        ? <Nothing title="No calls lately" icon="map">The map is drawn from the calls of the last half hour to an hour: what starts functions, and the queues, buckets, stores and hosts that they use.</Nothing>
        : <>
            <Drawing edges={[...edges].sort((a, b) => b.calls - a.calls).slice(0, drawn)} />
            {edges.length > drawn && <p class="quiet">The {drawn} busiest of {edges.length} connections are drawn; name an app to see all of its own.</p>}
            <Table label="The same as a table" head={['From', 'To', ['Calls', 'number'], ['Failed', 'number'], ['Mean', 'number']]}>
              {edges.map((e) => <tr key={e.from + e.to}><td>{e.from}</td><td>{e.to}</td><td class="number">{brief(e.calls)}</td><td class={e.failed ? 'number bad' : 'number'}>{e.failed}</td><td class="number">{duration(e.mean_ns)}</td></tr>)}
            </Table>
          </>}</Load>
    </Page>
  )
}

const drawn = 150
const column = 260
const row = 64
const box = { width: 190, height: 44 }

/** The column of each node: one more than that of its first caller, without walking in circles. */
function columns(edges: Edge[]): Map<string, number> {
  const place = new Map<string, number>()
  const out = new Map<string, string[]>()
  for (const e of edges) out.set(e.from, [...(out.get(e.from) ?? []), e.to])
  const targets = new Set(edges.map((e) => e.to))
  const visit = (name: string, at: number, path: Set<string>) => {
    if (path.has(name) || (place.get(name) ?? -1) >= at) return
    place.set(name, at)
    for (const to of out.get(name) ?? []) visit(to, at + 1, new Set([...path, name]))
  }
  for (const e of edges) if (!targets.has(e.from)) visit(e.from, 0, new Set())
  for (const e of edges) if (!place.has(e.from)) visit(e.from, 0, new Set())
  return place
}

/** Puts nodes of a column in the order of what they are joined to, so that fewer lines cross (Sugiyama's barycentre). */
function layout(edges: Edge[]): { place: Map<string, [number, number]>; width: number; height: number } {
  const place = columns(edges)
  const cols: string[][] = []
  for (const [name, c] of place) (cols[c] ??= []).push(name)
  const index = new Map<string, number>()
  const number = () => cols.forEach((col) => col?.forEach((n, i) => index.set(n, i)))
  number()
  for (let round = 0; round < 4; round++) {
    for (const col of cols) {
      const mean = new Map(col.map((n) => {
        const near = edges.filter((e) => e.to === n || e.from === n).map((e) => index.get(e.to === n ? e.from : e.to)!)
        return [n, near.length ? near.reduce((a, b) => a + b, 0) / near.length : index.get(n)!]
      }))
      col.sort((a, b) => mean.get(a)! - mean.get(b)!)
    }
    number()
  }
  const tallest = Math.max(...cols.map((c) => c.length))
  const at = new Map<string, [number, number]>()
  cols.forEach((col, c) => col.forEach((n, i) => at.set(n, [c * column + 12, (i + (tallest - col.length) / 2) * row + 12])))
  return { place: at, width: (cols.length - 1) * column + box.width + 24, height: tallest * row + 12 }
}

/** What a node is, and its name without that. */
function told(name: string): { kind: string; text: string; link?: string } {
  const resource = /^([^:/]+):([a-z]+)\/(.+)$/.exec(name)
  if (resource) return { kind: resource[2], text: resource[3], link: { queue: `/queues/${resource[1]}/${resource[3]}`, topic: `/topics/${resource[1]}/${resource[3]}`, kv: `/data/${resource[1]}/kv/${resource[3]}`, bucket: `/data/${resource[1]}/bucket/${resource[3]}`, database: `/data/${resource[1]}/sql/${resource[3]}` }[resource[2]] }
  const fn = /^([a-z][a-z0-9-]*)\/([a-z][a-z0-9-]*)$/.exec(name)
  if (fn) return { kind: fn[1], text: fn[2], link: `/functions/${name}` }
  return { kind: name.includes('.') || name.includes(':') ? 'host' : 'trigger', text: name }
}

function Drawing(props: { edges: Edge[] }) {
  const { place, width, height } = layout(props.edges)
  const most = Math.max(...props.edges.map((e) => e.calls), 1)
  return (
    <div class="scroll map" tabIndex={0} role="region" aria-label="Map">
      <svg width={width} height={height} role="img" aria-label={`${place.size} services and ${props.edges.length} connections; the table below says the same`}>
        <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" markerUnits="userSpaceOnUse"><path d="M0 0 8 4 0 8z" class="tip" /></marker></defs>
        {props.edges.map((e, n) => {
          const above = props.edges.slice(0, n).filter((x) => x.to === e.to).length // counts of arrows to one node, one over the other
          const [x1, y1] = place.get(e.from)!
          const [x2, y2] = place.get(e.to)!
          const [ax, ay, bx, by] = [x1 + box.width, y1 + box.height / 2, x2, y2 + box.height / 2]
          const bend = Math.max(40, (bx - ax) / 2)
          return (
            <g key={e.from + e.to} class={e.failed ? 'edge bad' : 'edge'}>
              <title>{`${e.from} → ${e.to}: ${brief(e.calls)} calls, ${percent(e.failed / Math.max(1, e.calls))} failed, ${duration(e.mean_ns)}`}</title>
              <path d={`M${ax},${ay} C${ax + bend},${ay} ${bx - bend},${by} ${bx},${by}`} style={{ strokeWidth: 1 + 3 * Math.sqrt(e.calls / most) }} marker-end="url(#tip)" />
              <text x={bx - 26} y={by - 6 - above * 13}>{brief(e.calls)}</text>
            </g>
          )
        })}
        {[...place].map(([name, [x, y]]) => {
          const { kind, text, link } = told(name)
          return (
            <g key={name} transform={`translate(${x},${y})`} class={link ? 'node link' : 'node'} onClick={() => link && go(link)}>
              <title>{name}</title><rect width={box.width} height={box.height} rx={7} /><text x={12} y={17} class="kind">{kind}</text><text x={12} y={34}>{text.length > 24 ? `${text.slice(0, 23)}…` : text}</text>
            </g>
          )
        })}
      </svg>
    </div>
  )
}
