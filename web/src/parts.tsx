// Parts that several pages are made of.
import type { ComponentChildren } from 'preact'

/** What a page shows where there is nothing: what would be here, and how to get it. */
export function Nothing(props: { title: string; children: ComponentChildren }) {
  return (
    <section class="nothing">
      <h2>{props.title}</h2>
      <p>{props.children}</p>
    </section>
  )
}
