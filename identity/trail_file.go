package identity

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// append writes entries to the day's file, a line each.
func (t *Trail) append(now time.Time, entries []Entry) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(t.file(now.UTC().Format(dayFormat)), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	_, err = f.Write(lines.Bytes())
	return errors.Join(err, f.Close())
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
	days, err := t.days()
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	for _, day := range slices.Backward(days) {
		if day < w.Since.UTC().Format(dayFormat) {
			break
		}
		entries, err := t.read(day)
		if err != nil {
			return nil, err
		}
		if !take(entries) {
			break
		}
	}
	return out, nil
}

// read is a day's entries. A last line that was cut off by a kill is left out.
func (t *Trail) read(day string) ([]Entry, error) {
	f, err := os.Open(t.file(day))
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
