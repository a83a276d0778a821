// What is asked and said over the page: a question before something is done, and
// a line about what came of it.
import { signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'

interface Question { text: string; verb: string; danger: boolean; answer: (yes: boolean) => void }

const question = signal<Question | null>(null)
const said = signal<{ text: string; bad: boolean; at: number } | null>(null)

/** Asks before something is done. */
export function ask(text: string, verb: string, danger = false): Promise<boolean> {
  return new Promise((answer) => (question.value = { text, verb, danger, answer }))
}

/** Says what happened, for some seconds; what went wrong stays longer. */
export function say(text: string, bad = false) {
  const at = Date.now()
  said.value = { text, bad, at }
  setTimeout(() => {
    if (said.value?.at === at) said.value = null
  }, bad ? 12_000 : 4_000)
}

/** Takes away what was said before something else is done. */
export const hush = () => (said.value = null)

/** A modal that closes with Escape or a click beside it; the browser keeps the focus in it. */
export function Modal(props: { label: string; close: () => void; class?: string; children: preact.ComponentChildren }) {
  const at = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null
    at.current!.showModal()
    return () => before?.focus?.()
  }, [])
  return (
    <dialog ref={at} class={props.class} aria-label={props.label} onClose={props.close} onClick={(e) => e.target === at.current && at.current!.close()}>
      <div>{props.children}</div>
    </dialog>
  )
}

export function Dialogs() {
  const q = question.value
  const s = said.value
  const answer = (yes: boolean) => {
    if (question.value !== q) return
    question.value = null
    q?.answer(yes)
  }
  return (
    <>
      {q && (
        <Modal label={q.text} close={() => answer(false)} class="ask">
          <p>{q.text}</p>
          <div class="buttons">
            <button onClick={() => answer(false)}>Cancel</button>
            <button class={q.danger ? 'danger' : 'primary'} autoFocus onClick={() => answer(true)}>{q.verb}</button>
          </div>
        </Modal>
      )}
      <div class="said" role={s?.bad ? 'alert' : 'status'}>
        {s && <p class={s.bad ? 'bad' : ''}>{s.text}<button class="plain" aria-label="Dismiss" onClick={() => (said.value = null)}>×</button></p>}
      </div>
    </>
  )
}
