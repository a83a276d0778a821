import { useData } from '../data'
import { duration } from '../format'
import { Load, Nothing, Page, Table } from '../parts'

interface Edge { from: string; to: string; calls: number; failed: number; mean_ns: number }

/** Who calls what: callers on the left, what they reach to their right. */
export function ServiceMap() {
  const map = useData<{ edges: Edge[] | null }>('/v1/stats/map', 5000)
  return (
    <Page title="Service map">
      <Load from={map}>{({ edges }) => !edges?.length
        ? <Nothing title="No calls lately">The map is drawn from the calls of the last minutes.</Nothing>
        : <>
            <Drawing edges={edges} />
            <Table label="The same as a table" head={['From', 'To', 'Calls', 'Failed', 'Mean']}>
              {edges.map((e) => <tr key={e.from + e.to}><td>{e.from}</td><td>{e.to}</td><td class="number">{e.calls}</td><td class={e.failed ? 'number bad' : 'number'}>{e.failed}</td><td class="number">{duration(e.mean_ns)}</td></tr>)}
            </Table>
          </>}</Load>
    </Page>
  )
}

/** The column of each node: one more than that of its first caller, without walking in circles. */
function columns(edges: Edge[]): Map<string, number> {
  const column = new Map<string, number>()
  const targets = new Set(edges.map((e) => e.to))
  const visit = (name: string, at: number, path: Set<string>) => {
    if (path.has(name) || (column.get(name) ?? -1) >= at) return
    column.set(name, at)
    for (const e of edges) if (e.from === name) visit(e.to, at + 1, new Set([...path, name]))
  }
  for (const e of edges) if (!targets.has(e.from)) visit(e.from, 0, new Set())
  for (const e of edges) if (!column.has(e.from)) visit(e.from, 0, new Set())
  return column
}

function Drawing(props: { edges: Edge[] }) {
  const column = columns(props.edges)
  const rows = new Map<number, number>()
  const place = new Map<string, [number, number]>()
  for (const [name, c] of column) {
    const row = rows.get(c) ?? 0
    rows.set(c, row + 1)
    place.set(name, [c * 220 + 10, row * 56 + 10])
  }
  const width = (Math.max(...column.values()) + 1) * 220
  const height = Math.max(...rows.values()) * 56 + 10
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Map">
      <svg width={width} height={height} role="img" aria-label={`${column.size} services and ${props.edges.length} connections`}>
        {props.edges.map((e) => {
          const [x1, y1] = place.get(e.from)!
          const [x2, y2] = place.get(e.to)!
          return <path key={e.from + e.to} class={e.failed ? 'edge bad' : 'edge'} d={`M${x1 + 170},${y1 + 18} C${x1 + 195},${y1 + 18} ${x2 - 25},${y2 + 18} ${x2},${y2 + 18}`} />
        })}
        {[...place].map(([name, [x, y]]) => (
          <g key={name} transform={`translate(${x},${y})`}><rect width={170} height={36} rx={6} class="node" /><text x={10} y={23}>{name.slice(0, 22)}</text></g>
        ))}
      </svg>
    </div>
  )
}
