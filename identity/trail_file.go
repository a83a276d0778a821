package identity

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// append writes entries to a file of the day, a line each: all of them or, with an
// error, none.
func (t *Trail) append(now time.Time, entries []Entry) error {
	lines, err := encodeEntries(entries)
	if err != nil {
		return err
	}
	part, err := t.next(now)
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	f, err := os.OpenFile(t.file(part), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return errors.Join(add(f, lines), f.Close())
}

// add writes lines at the end of a file. What a kill left of a last line stays a
// line by itself, which read leaves out.
func add(f *os.File, lines []byte) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	end, last := info.Size(), []byte("\n")
	if end > 0 {
		if _, err := f.ReadAt(last, end-1); err != nil {
			return fmt.Errorf("read audit: %w", err)
		}
	}
	if last[0] != '\n' {
		lines = append([]byte("\n"), lines...)
	}
	if _, err := f.WriteAt(lines, end); err != nil {
		return fmt.Errorf("write audit: %w", errors.Join(err, f.Truncate(end)))
	}
	return nil
}

// Wanted says which entries a query wants. Empty fields want all.
type Wanted struct {
	App      string
	Function string
	Kind     string
	Name     string
	Refused  bool // only what was refused
	Since    time.Time
	Limit    int
}

func (w Wanted) has(e *Entry) bool {
	same := func(want, is string) bool { return want == "" || want == is }
	return same(w.App, string(e.App)) && same(w.Function, string(e.Function)) && same(w.Kind, e.Kind) && same(w.Name, e.Name) &&
		!(w.Refused && e.Allowed) && !e.To.Before(w.Since)
}

// Query is the entries that are wanted, newest first, those that are not written
// yet included.
func (t *Trail) Query(w Wanted) ([]Entry, error) {
	t.writing.Lock() // none is between memory and file
	defer t.writing.Unlock()
	t.mu.Lock()
	found := entriesOf(t.counts)
	t.mu.Unlock()
	sortByEnd(found) // whoever records does not wait for it
	out := []Entry{}
	take := func(entries []Entry) bool {
		for _, e := range slices.Backward(entries) {
			if w.has(&e) {
				out = append(out, e)
			}
			if len(out) == w.Limit {
				return false
			}
		}
		return true
	}
	if !take(found) {
		return out, nil
	}
	parts, err := t.parts()
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	for _, part := range slices.Backward(parts) {
		if dayOf(part) < w.Since.UTC().Format(dayFormat) {
			break
		}
		entries, err := t.read(part)
		if err != nil {
			return nil, err
		}
		if !take(entries) {
			break
		}
	}
	return out, nil
}

func (t *Trail) read(part string) ([]Entry, error) { return readEntries(t.file(part)) }

// readEntries is a file's entries. A line that was cut off by a kill is left out.
func readEntries(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	defer f.Close()
	var out []Entry
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var e Entry
		if err == nil && json.Unmarshal(line, &e) == nil {
			out = append(out, e)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read audit: %w", err)
		}
	}
}
