// Icons on a grid of 16, drawn with one stroke.
const paths: Record<string, string> = {
  overview: 'M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z',
  live: 'M1 8h3l2-5 4 10 2-5h3',
  logs: 'M2 3h12M2 6.5h9M2 10h12M2 13.5h7',
  traces: 'M2 3h8M5 8h8M8 13h6',
  map: 'M3.5 2a1.5 1.5 0 1 0 .01 0M12.5 6.5a1.5 1.5 0 1 0 .01 0M3.5 11a1.5 1.5 0 1 0 .01 0M5 4l6 3.4M5 12l6-3.2',
  metrics: 'M2 2v12h12M4.5 11l3-4 2.5 2 3.5-5',
  queue: 'M2 4h4v8H2zM8 4h2v8H8zM12 4h2v8h-2z',
  topic: 'M8 7a1 1 0 1 0 .01 0M5 5a4.2 4.2 0 0 0 0 6M11 5a4.2 4.2 0 0 1 0 6M2.8 2.8a7.3 7.3 0 0 0 0 10.4M13.2 2.8a7.3 7.3 0 0 1 0 10.4',
  schedule: 'M8 1.5a6.5 6.5 0 1 0 .01 0M8 4.5V8l2.5 2',
  dead: 'M2 4h12v9H2zM2 4.5l6 4.5 6-4.5M11 1l3 3M14 1l-3 3',
  data: 'M2 3.5C2 1.2 14 1.2 14 3.5S2 5.8 2 3.5v9c0 2.3 12 2.3 12 0v-9M2 8c0 2.3 12 2.3 12 0',
  secret: 'M5 9.5a2.8 2.8 0 1 1 1.8-.7L14 2M11 5l2 2',
  deploy: 'M8 14V5M4 8.5 8 4.5l4 4M2.5 2h11',
  alert: 'M8 1.5c-3 0-4.5 2-4.5 5V10L2 12.5h12L12.5 10V6.5c0-3-1.5-5-4.5-5M6.5 14.5h3',
  cost: 'M8 1v14M11.5 4c-1-1.3-6.5-1.6-6.5 1.3C5 8.5 11.5 7 11.5 10.5c0 3-6 3-7.5.8',
  doctor: 'M8 14C2 10 1.5 7.5 1.5 5.5 1.5 2 6 1.5 8 4.5c2-3 6.5-2.5 6.5 1C14.5 7.5 14 10 8 14',
  search: 'M7 2a5 5 0 1 0 .01 0M10.6 10.6 14 14',
  keys: 'M1.5 4h13v8.5h-13zM4 7h.01M7 7h.01M10 7h.01M12.5 7h.01M5 10h6',
  source: 'M1.5 8h7M6 5l3 3-3 3M10.5 3.5h4v9h-4',
  audit: 'M3 1.5h10v13H3zM5.5 5h5M5.5 8h5M5.5 11h3',
  light: 'M8 5a3 3 0 1 0 .01 0M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1',
  dark: 'M13.5 10A6 6 0 0 1 6 2.5a6 6 0 1 0 7.5 7.5',
  system: 'M1.5 2.5h13v9h-13zM5 14h6',
  out: 'M6 2H2.5v12H6M6 8h8M11 5l3 3-3 3',
  folder: 'M1.5 3.5h4.5l1.5 2h7v8h-13z',
  file: 'M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3',
  function: 'M4 14C7 14 6.5 2 10.5 2 12 2 12 3 12 3M4 7h6',
  menu: 'M2 4h12M2 8h12M2 12h12',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
}

/** An icon beside a text that says the same, so that it is hidden from readers. */
export function Icon(props: { name: string }) {
  return <svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d={paths[props.name] ?? paths.file} /></svg>
}
