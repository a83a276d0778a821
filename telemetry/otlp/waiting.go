package otlp

// waiting are rows on their way, bounded by number and by bytes. Its owner's
// lock guards it.
type waiting[T any] struct {
	rows  []T
	bytes int64
	size  func(*T) int
}

// put adds the rows that there is room for and returns how many there was none
// for.
func (w *waiting[T]) put(rows []T, most int, bytes int64) (dropped int) {
	for i := range rows {
		n := int64(w.size(&rows[i]))
		if len(w.rows) >= most || w.bytes+n > bytes {
			dropped++
			continue
		}
		w.rows, w.bytes = append(w.rows, rows[i]), w.bytes+n
	}
	return dropped
}

// batch reports whether there is enough for one.
func (w *waiting[T]) batch() bool { return len(w.rows) >= maxBatch || w.bytes >= batchBytes }

// take removes the oldest rows, as many as make a batch.
func (w *waiting[T]) take() []T {
	n, bytes := 0, int64(0)
	for n < min(len(w.rows), maxBatch) {
		size := int64(w.size(&w.rows[n]))
		if n > 0 && bytes+size > batchBytes {
			break
		}
		n, bytes = n+1, bytes+size
	}
	batch := w.rows[:n:n]
	w.rows, w.bytes = w.rows[n:], w.bytes-bytes
	if len(w.rows) == 0 {
		w.rows = nil
	}
	return batch
}
