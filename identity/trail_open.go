package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What is being counted is noted once a second in a file of its own, open: a line
// for each count that changed, with all of it so far. So a kill loses a second, and
// equal decisions are still one entry of the trail for each time they are written.
// The next start takes in what is there.

func (t *Trail) open() string { return filepath.Join(t.cfg.Dir, "open") }

// note writes what was counted since the last note.
func (t *Trail) note() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	var changed []Entry
	for key, c := range t.counts {
		if c.noted != c.count {
			c.noted = c.count
			changed = append(changed, key.entry(c))
		}
	}
	t.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	lines, err := encodeEntries(changed)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(t.open(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("note decisions: %w", err)
	}
	return errors.Join(add(f, lines), f.Close())
}

// settled empties the file: all of it is in the trail now.
func (t *Trail) settled() error {
	err := os.Truncate(t.open(), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// recover takes in what a killed node had noted, and not written yet.
func (t *Trail) recover(now time.Time) error {
	noted, err := readEntries(t.open())
	if err != nil || len(noted) == 0 {
		return err
	}
	parts, err := t.parts()
	if err != nil {
		return fmt.Errorf("read audit: %w", err)
	}
	written := map[string]bool{} // it was killed between the two files
	if len(parts) > 0 {
		last, err := t.read(parts[len(parts)-1])
		if err != nil {
			return err
		}
		for i := range last {
			written[last[i].identity()] = true
		}
	}
	newest := map[string]Entry{}
	for _, e := range noted {
		if id := e.identity(); !written[id] {
			newest[id] = e
		}
	}
	entries := make([]Entry, 0, len(newest))
	for _, e := range newest {
		entries = append(entries, e)
	}
	sortByEnd(entries)
	if len(entries) > 0 {
		if err := t.append(now, entries); err != nil {
			return err
		}
	}
	return t.settled()
}

// identity is the same of one count's entries, whenever they were noted.
func (e Entry) identity() string {
	e.To, e.Count = time.Time{}, 0
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // every field marshals
	}
	return string(b)
}

func encodeEntries(entries []Entry) ([]byte, error) {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for i := range entries {
		if err := enc.Encode(&entries[i]); err != nil {
			return nil, err
		}
	}
	return slices.Clip(lines.Bytes()), nil
}
