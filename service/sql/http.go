package sql

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// Path names a database in the API; exported so that huma fills it.
type Path struct {
	App      string `path:"app" doc:"The app that declares the database"`
	Database string `path:"database" doc:"The database's name"`
}

type pipelineInput struct {
	Path
	Body PipelineRequest
}

type pipelineOutput struct{ Body *PipelineResponse }

type queryInput struct {
	Path
	Body struct {
		SQL      string          `json:"sql" minLength:"1" doc:"One statement"`
		Args     json.RawMessage `json:"args,omitempty" doc:"A list for ?, or an object for :name; a blob is {\"base64\": …}"`
		ReadOnly bool            `json:"read_only,omitempty" doc:"The database refuses the statement if it writes, whatever the caller may"`
	}
}

type queryOutput struct {
	Body struct {
		Columns  []string `json:"columns"`
		Rows     [][]any  `json:"rows"`
		Affected int64    `json:"affected"`
		LastID   int64    `json:"last_id,omitempty"`
	}
}

// Info describes a database.
type Info struct {
	Database   string       `json:"database"`
	Engine     string       `json:"engine"`
	Bytes      int64        `json:"bytes"`
	Quota      mayfly.Bytes `json:"quota,omitempty"`
	Reads      int64        `json:"reads" doc:"Statements and transactions that took a reader"`
	Writes     int64        `json:"writes" doc:"Those that took the writer"`
	Waits      int64        `json:"waits" doc:"Those that waited for longer than 1 ms"`
	WaitedMS   int64        `json:"waited_ms"`
	LongestMS  int64        `json:"longest_wait_ms"`
	Refused    int64        `json:"refused" doc:"Those that waited for too long"`
	Rolledback int64        `json:"rolled_back" doc:"Transactions that were idle or too old"`

	Connections int `json:"connections,omitempty" doc:"PostgreSQL: open ones"`
	Pool        int `json:"pool,omitempty" doc:"PostgreSQL: most of them"`
	Sessions    int `json:"sessions,omitempty" doc:"PostgreSQL: clients that speak its protocol; between transactions they have no connection"`

	Copies  *CopiesInfo `json:"copies,omitempty" doc:"SQLite: how its point-in-time copies fare"`
	Changes *Capture    `json:"changes,omitempty" doc:"PostgreSQL: how the changes are followed that functions listen to"`
}

type listOutput struct {
	Body struct {
		Databases []Info `json:"databases"`
	}
}

// Register adds the service's operations: Hrana for libSQL's clients, and one
// plain statement for everything else.
func (d *Driver) Register(api huma.API) {
	const base = "/v1/apps/{app}/databases"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{"Databases"}, MaxBodyBytes: 16 << 20}
	}
	huma.Register(api, op("list-databases", http.MethodGet, "", "List an app's databases, with the use of their connections"), d.list)
	huma.Register(api, op("query-database", http.MethodPost, "/{database}/query", "Run one statement"), d.query)
	for _, v := range []string{"v2", "v3"} {
		huma.Register(api, op("hrana-"+v, http.MethodGet, "/{database}/"+v, "Hrana "+v+" in JSON is spoken here"), d.version)
		huma.Register(api, op("hrana-"+v+"-pipeline", http.MethodPost, "/{database}/"+v+"/pipeline", "Hrana "+v+": run requests on a stream"), d.runPipeline)
	}
	huma.Register(api, op("neon-sql", http.MethodPost, "/{database}/sql", "PostgreSQL: one statement, or several as a transaction, as @neondatabase/serverless says it"), d.neon)
	huma.Register(api, op("restart-table-events", http.MethodPost, "/{database}/changes/restart", "PostgreSQL: after changes were lost, tell those from now on"), d.restart)
	huma.Register(api, op("backup-database", http.MethodGet, "/{database}/backup", "A consistent copy of the file, while it is in use, or of what it was at a time"), d.backup)
	huma.Register(api, op("restore-database", http.MethodPost, "/{database}/restore", "Make an SQLite database what it was at a time, of its copies"), d.restoreAt)
}

func (d *Driver) version(ctx context.Context, in *Path) (*struct{}, error) {
	_, _, err := d.open(ctx, mayfly.AppName(in.App), in.Database)
	return nil, err
}

func (d *Driver) runPipeline(ctx context.Context, in *pipelineInput) (*pipelineOutput, error) {
	db, write, err := d.open(ctx, mayfly.AppName(in.App), in.Database)
	if err != nil {
		return nil, err
	}
	out, err := d.pipeline(ctx, db, write, &in.Body)
	if err != nil {
		return nil, err
	}
	return &pipelineOutput{out}, nil
}

func (d *Driver) query(ctx context.Context, in *queryInput) (*queryOutput, error) {
	if d.postgres(mayfly.AppName(in.App), in.Database) != nil {
		return d.queryPostgres(ctx, in)
	}
	db, write, err := d.open(ctx, mayfly.AppName(in.App), in.Database)
	if err != nil {
		return nil, err
	}
	if n := len(split(in.Body.SQL)); n != 1 {
		return nil, mayfly.Errorf(mayfly.Invalid, "run statement", "the text holds %d statements; send one", n)
	}
	switch verb(in.Body.SQL) {
	case "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return nil, mayfly.Errorf(mayfly.Invalid, "run statement", "a transaction needs a stream; use a libSQL client")
	}
	s := &Statement{SQL: in.Body.SQL}
	if err := s.arguments(in.Body.Args); err != nil {
		return nil, err
	}
	r, err := db.once(ctx, s, write && !in.Body.ReadOnly)
	if err != nil {
		return nil, err
	}
	out := &queryOutput{}
	out.Body.Affected, out.Body.LastID = r.Affected, r.LastID
	out.Body.Columns, out.Body.Rows = []string{}, [][]any{}
	for _, c := range r.Columns {
		out.Body.Columns = append(out.Body.Columns, c.Name)
	}
	for _, row := range r.Rows {
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
			}
		}
		out.Body.Rows = append(out.Body.Rows, row)
	}
	return out, nil
}

// queryPostgres returns values in PostgreSQL's text form.
func (d *Driver) queryPostgres(ctx context.Context, in *queryInput) (*queryOutput, error) {
	p, write, err := d.openPostgres(ctx, mayfly.AppName(in.App), in.Database)
	if err != nil {
		return nil, err
	}
	s := &Statement{}
	if err := s.arguments(in.Body.Args); err != nil {
		return nil, err
	}
	q := &pgQuery{Query: in.Body.SQL}
	for _, v := range s.Args {
		var text *string
		switch v := v.(type) {
		case nil:
		case []byte:
			hex := fmt.Sprintf("\\x%x", v)
			text = &hex
		default:
			plain := fmt.Sprint(v)
			text = &plain
		}
		q.Params = append(q.Params, text)
	}
	r, err := p.once(ctx, q, write && !in.Body.ReadOnly)
	if err != nil {
		return nil, err
	}
	out := &queryOutput{}
	out.Body.Affected, out.Body.Columns, out.Body.Rows = r.RowCount, []string{}, [][]any{}
	for _, f := range r.Fields {
		out.Body.Columns = append(out.Body.Columns, f.Name)
	}
	for _, row := range r.Rows {
		values := make([]any, len(row))
		for i, v := range row {
			if v != nil {
				values[i] = *v
			}
		}
		out.Body.Rows = append(out.Body.Rows, values)
	}
	return out, nil
}

// arguments reads a list or an object of JSON values.
func (s *Statement) arguments(raw json.RawMessage) (err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	decode := json.NewDecoder(strings.NewReader(string(raw)))
	decode.UseNumber() // a large integer is not a float
	var decoded any
	if err := decode.Decode(&decoded); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "read arguments", "%w", err)
	}
	switch v := decoded.(type) {
	case []any:
		for _, each := range v {
			value, err := argument(each)
			if err != nil {
				return err
			}
			s.Args = append(s.Args, value)
		}
	case map[string]any:
		s.Named = map[string]Value{}
		for name, each := range v {
			if s.Named[name], err = argument(each); err != nil {
				return err
			}
		}
	default:
		return mayfly.Errorf(mayfly.Invalid, "read arguments", "args is a list or an object")
	}
	return nil
}

func argument(v any) (Value, error) {
	switch v := v.(type) {
	case nil, string:
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case map[string]any:
		if s, ok := v["base64"].(string); ok && len(v) == 1 {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return nil, mayfly.Errorf(mayfly.Invalid, "read arguments", "base64 is not valid")
			}
			return b, nil
		}
	}
	b, err := json.Marshal(v) // a list or an object is its JSON text
	return string(b), err
}

func (d *Driver) restart(ctx context.Context, in *Path) (*struct{}, error) {
	app := mayfly.AppName(in.App)
	if err := d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), app, service.Write, service.KindDatabase, in.Database); err != nil {
		return nil, err
	}
	c := d.capture(app, in.Database)
	if c == nil || !c.follows() {
		return nil, mayfly.Errorf(mayfly.NotFound, "restart table events", "no function of app %s listens to tables of a PostgreSQL database %q", app, in.Database)
	}
	return nil, c.restart(ctx)
}

func (d *Driver) list(ctx context.Context, in *struct {
	App string `path:"app"`
}) (*listOutput, error) {
	app := mayfly.AppName(in.App)
	if err := d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), app, service.List, service.KindDatabase, "*"); err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Databases = []Info{}
	for _, db := range d.Databases() {
		if db.App == app {
			out.Body.Databases = append(out.Body.Databases, db.Info)
		}
	}
	return out, nil
}

// Described is a database of an app.
type Described struct {
	App mayfly.AppName
	Info
}

// Databases are those of all apps, by app and name.
func (d *Driver) Databases() (out []Described) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, db := range d.databases {
		out = append(out, Described{db.app, db.info()})
	}
	for key, p := range d.servers {
		i := p.info()
		i.Sessions = d.sessions.count(p.app, p.name)
		if c := d.captures[key]; c != nil && c.follows() {
			s := c.status()
			i.Changes = &s
		}
		out = append(out, Described{p.app, i})
	}
	slices.SortFunc(out, func(a, b Described) int {
		return cmp.Or(strings.Compare(string(a.App), string(b.App)), strings.Compare(a.Database, b.Database))
	})
	return out
}

func (d *database) info() Info {
	i := Info{Database: d.name, Engine: "sqlite", Copies: d.copies.Load().info()}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(d.file + suffix); err == nil {
			i.Bytes += info.Size()
		}
	}
	d.stats.mu.Lock()
	defer d.stats.mu.Unlock()
	s := &d.stats
	i.Reads, i.Writes, i.Waits, i.Refused, i.Rolledback = s.reads, s.writes, s.waits, s.refused, s.rollback
	i.WaitedMS, i.LongestMS = s.waited.Milliseconds(), s.longest.Milliseconds()
	return i
}

type restoreInput struct {
	Path
	Body struct {
		At time.Time `json:"at" doc:"Within what the copies reach back"`
	}
}

func (d *Driver) restoreAt(ctx context.Context, in *restoreInput) (*struct{}, error) {
	db, write, err := d.open(ctx, mayfly.AppName(in.App), in.Database)
	if err != nil {
		return nil, err
	}
	if !write {
		return nil, d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), db.app, service.Write, service.KindDatabase, db.name)
	}
	return nil, db.restore(ctx, in.Body.At)
}

type backupInput struct {
	Path
	At time.Time `query:"at" doc:"As it was then, of its copies; default: now"`
}

func (d *Driver) backup(ctx context.Context, in *backupInput) (*huma.StreamResponse, error) {
	db, _, err := d.open(ctx, mayfly.AppName(in.App), in.Database)
	if err != nil {
		return nil, err
	}
	var file *os.File
	if in.At.IsZero() {
		file, err = copyOf(ctx, db.file, d.cfg.Tmp)
	} else if path, e := db.asOf(ctx, in.At); e == nil {
		file, err = os.Open(path)
		_ = os.RemoveAll(filepath.Dir(path)) // it stays readable
	} else {
		err = e
	}
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer file.Close()
		hc.SetHeader("Content-Type", "application/vnd.sqlite3")
		hc.SetHeader("Content-Disposition", `attachment; filename="`+db.name+`.db"`)
		_, _ = file.WriteTo(hc.BodyWriter())
	}}, nil
}
