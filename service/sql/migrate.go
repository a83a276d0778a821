package sql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

var migrationName = regexp.MustCompile(`^[0-9]+[A-Za-z0-9_.-]*\.sql$`)

// ordered are the names of migrations in the order they run, that of their
// numbers.
func ordered(files map[string]string) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if na, nb := leading(a), leading(b); na != nb {
			if na < nb {
				return -1
			}
			return 1
		}
		if a < b {
			return -1
		}
		return 1
	})
	return names
}

func leading(name string) (n int64) {
	for i := 0; i < len(name) && i < 18 && name[i] >= '0' && name[i] <= '9'; i++ {
		n = n*10 + int64(name[i]-'0')
	}
	return n
}

func checksum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

const migrationSchema = "CREATE TABLE IF NOT EXISTS _mayfly_migrations(name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied INTEGER NOT NULL)"

// applied are the migrations that ran, by name.
func (c *connection) applied(ctx context.Context) (map[string]string, error) {
	r, err := c.own(ctx, "SELECT 1 FROM sqlite_schema WHERE name = '_mayfly_migrations'")
	if err != nil || len(r.Rows) == 0 {
		return nil, err
	}
	if r, err = c.own(ctx, "SELECT name, checksum FROM _mayfly_migrations"); err != nil {
		return nil, err
	}
	done := map[string]string{}
	for _, row := range r.Rows {
		done[row[0].(string)] = row[1].(string)
	}
	return done, nil
}

// pending are the migrations that have not run. It is a Conflict error where one
// that ran is another now, or where a new one has a number below one that ran.
func pending(files map[string]string, done map[string]string) (names []string, err error) {
	for _, name := range ordered(files) {
		sum, ran := done[name]
		switch {
		case !ran:
			names = append(names, name)
			continue
		case sum != checksum(files[name]):
			return nil, mayfly.Errorf(mayfly.Conflict, "migration "+name, "it ran already and was changed since; put it back as it was, and make the change in a new migration")
		case len(names) > 0:
			return nil, mayfly.Errorf(mayfly.Conflict, "migration "+names[0], "it comes before %s, which ran already; give it a higher number", name)
		}
	}
	return names, nil
}

// migrate runs the pending migrations in order, each in a transaction of its
// own with the note that it ran.
func (d *database) migrate(ctx context.Context, files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	c, err := d.take(ctx, true)
	if err != nil {
		return err
	}
	defer d.give(c)
	done, err := c.applied(ctx)
	if err != nil {
		return err
	}
	names, err := pending(files, done)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.migrateOne(ctx, c, name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

func (d *database) migrateOne(ctx context.Context, c *connection, name, body string) error {
	err := c.atomically(ctx, func() error {
		if _, err := c.own(ctx, migrationSchema); err != nil {
			return err
		}
		for _, s := range split(body) {
			switch v := verb(s); v {
			case "BEGIN", "COMMIT", "END", "ROLLBACK":
				return mayfly.Errorf(mayfly.Invalid, "run statement", "%s: a migration is a transaction already", v)
			}
			if _, err := d.step(ctx, c, &Statement{SQL: s}); err != nil {
				return fmt.Errorf("%w (in: %.80s)", err, s)
			}
		}
		_, err := c.own(ctx, "INSERT INTO _mayfly_migrations(name, checksum, applied) VALUES (?, ?, ?)", name, checksum(body), time.Now().UnixMilli())
		return err
	})
	if err != nil {
		return mayfly.Errorf(codeOr(err, mayfly.Invalid), "migration "+name, "nothing of it was kept: %w", err)
	}
	return nil
}

func codeOr(err error, standard mayfly.Code) mayfly.Code {
	if code := mayfly.CodeOf(err); code != mayfly.Internal {
		return code
	}
	return standard
}
