package sql

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// preparedStatement is a statement that a client prepared.
type preparedStatement struct {
	text    string
	types   []uint32
	sets    bool   // it changes settings
	control string // of a reader's: what it says of the transaction
	back    bool   // it goes back to a savepoint
}

// Bounds of what a client has prepared at a time.
const (
	maxPrepared      = 2000
	maxPreparedBytes = 8 << 20
)

// keep notes a statement that the client prepares. One too many fails when it is
// run.
func (s *session) keep(m *pgproto3.Parse) *preparedStatement {
	own := &preparedStatement{text: served(m.Query), types: slices.Clone(m.ParameterOIDs), sets: s.mayset(m.Query)}
	if m.Name != "" {
		bytes := len(own.text)
		for _, other := range s.prepared {
			bytes += len(other.text)
		}
		if len(s.prepared) >= maxPrepared || bytes > maxPreparedBytes {
			own.text = raise("53200", "too many statements are prepared; close some that are not used any more")
			own.types = nil
		}
	}
	s.prepared[m.Name] = own
	return own
}

// served is a statement's text, or, in place of one that makes no sense where
// connections are shared, one that fails with the reason: so that the error comes
// in its turn.
func served(text string) string {
	if verb(text) == "LISTEN" {
		return raise("0A000", "LISTEN needs a connection of its own, and here they are shared; have a function called by a postgres trigger")
	}
	return text
}

// raise is a statement that fails.
func raise(state, message string) string {
	return "DO $mayfly$BEGIN RAISE EXCEPTION USING ERRCODE = " + text(state) + ", MESSAGE = " + text(message) + "; END$mayfly$"
}

var customSetting = regexp.MustCompile(`(?i)^\s*SET\s+(?:SESSION\s+)?([a-z_]\w*\.[a-z_][\w.]*)|set_config\s*\(\s*'([a-z_]\w*\.[a-z_][\w.]*)'`)

// maxCustom is how many settings with a dot in their names a session keeps.
const maxCustom = 100

// mayset reports whether a statement may call set_config; of SET, the server
// tells. Names of settings that the server does not list are noted.
func (s *session) mayset(text string) bool {
	for _, m := range customSetting.FindAllStringSubmatch(text, -1) {
		if len(s.custom) < maxCustom {
			s.custom[strings.ToLower(m[1]+m[2])] = true
		}
	}
	return strings.Contains(strings.ToLower(text), "set_config")
}

var deallocate = regexp.MustCompile(`(?i)^\s*DEALLOCATE\s+(?:PREPARE\s+)?(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_$]*))\s*;?\s*$`)

// deallocated is the name of the prepared statement that a text drops; "" where
// it drops none, or all.
func deallocated(text string) string {
	m := deallocate.FindStringSubmatch(text)
	switch {
	case m == nil || strings.EqualFold(m[2], "all"):
		return ""
	case m[1] != "":
		return strings.ReplaceAll(m[1], `""`, `"`)
	}
	return strings.ToLower(m[2])
}

// What clients say of transactions, as all of them do: without comments.
var (
	begins    = regexp.MustCompile(`(?i)^\s*(?:BEGIN|START\s+TRANSACTION)((?:[\s,]+[a-z]+)*)\s*;?\s*$`)
	isolation = regexp.MustCompile(`(?i)ISOLATION\s+LEVEL\s+(SERIALIZABLE|REPEATABLE\s+READ|READ\s+COMMITTED|READ\s+UNCOMMITTED)`)
	finishes  = regexp.MustCompile(`(?i)^\s*(COMMIT|END|ROLLBACK|ABORT)(?:\s+(?:WORK|TRANSACTION))?\s*;?\s*$`)
	goesBack  = regexp.MustCompile(`(?i)^\s*ROLLBACK\s+(?:(?:WORK|TRANSACTION)\s+)?TO\s+(?:SAVEPOINT\s+)?(?:"[^"]*"|[a-z0-9_]+)\s*;?\s*$`)
)

// control is what a text says of a transaction: BEGIN, COMMIT, ROLLBACK, or "".
func control(text string) string {
	if begins.MatchString(text) {
		return "BEGIN"
	}
	m := finishes.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	switch strings.ToUpper(m[1]) {
	case "COMMIT", "END":
		return "COMMIT"
	}
	return "ROLLBACK"
}
