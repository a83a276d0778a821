import type { ComponentChildren } from 'preact'
import { type Loaded, useData } from '../data'
import { Filter, Filters, Lazily, Load, Nothing, Page } from '../parts'
import { param } from '../router'
import type { AppSummary } from '../types'

export const useApps = (): Loaded<{ apps: AppSummary[] }> => useData('/v1/apps', 10_000)

interface Props {
  title: string
  icon: string
  kinds: string[] | null // the resources of which an app needs one to be shown; null: all apps are
  empty: string
  code?: string
  teach: ComponentChildren
  filters?: ComponentChildren
  children: (app: AppSummary) => ComponentChildren
}

/** A page with a part for each app that has what it is about. Parts that are out of sight ask for nothing. */
export function ByApp(props: Props) {
  const apps = useApps()
  const find = param('app')
  const has = (a: AppSummary) => props.kinds === null || props.kinds.some((k) => a.resources?.[k])
  return (
    <Page title={props.title} aside={<Filters>{props.filters}{(find || (apps.value?.apps.length ?? 0) > 1) && <Filter name="app" label="App" placeholder="part of a name" />}</Filters>}>
      <Load from={apps}>{({ apps }) => {
        const shown = apps.filter((a) => has(a) && a.name.includes(find))
        if (shown.length === 0 && find && apps.some(has)) return <Nothing title="No such app" icon="search">No app with “{find}” in its name has any.</Nothing>
        if (shown.length === 0) return <Nothing title={props.empty} icon={props.icon} code={props.code}>{props.teach}</Nothing>
        return <div class="apps">{shown.map((a, i) => (i < 3 ? <div key={a.name}>{props.children(a)}</div> : <Lazily key={a.name}>{props.children(a)}</Lazily>))}</div>
      }}</Load>
    </Page>
  )
}
