package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/peterh/liner"
	"github.com/spf13/cobra"

	"github.com/mayfly-cloud/mayfly"
)

func newSQLCmd(g *globals) *cobra.Command {
	var execute, file string
	cmd := &cobra.Command{
		Use: "sql [DATABASE]", Short: "A prompt for a database, or one statement", Args: cobra.MaximumNArgs(1),
		Long: "A prompt for a database, with history and tables; one statement with -e; statements from standard input where it is not a terminal. Without DATABASE: the app's databases.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listDatabases(cmd, g)
			}
			s := &sqlSession{g: g, database: args[0]}
			if err := s.ask(cmd.Context()); err != nil {
				return err
			}
			switch {
			case execute != "":
				return s.run(cmd.Context(), execute)
			case file != "":
				b, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				return s.sequence(cmd.Context(), string(b))
			case !onScreen(g.in):
				b, err := io.ReadAll(g.in)
				if err != nil {
					return err
				}
				return s.sequence(cmd.Context(), string(b))
			}
			return s.prompt(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&execute, "execute", "e", "", "run one statement")
	cmd.Flags().StringVarP(&file, "file", "f", "", "run the statements of a file")
	cmd.AddCommand(newSQLBackupCmd(g), newSQLRestartCmd(g), newSQLRestoreCmd(g))
	return cmd
}

// databaseInfo is what the API says of a database, where people read it.
type databaseInfo struct {
	Database    string `json:"database"`
	Engine      string `json:"engine"`
	Bytes       int64  `json:"bytes"`
	Reads       int64  `json:"reads"`
	Writes      int64  `json:"writes"`
	Waits       int64  `json:"waits"`
	Refused     int64  `json:"refused"`
	Longest     int64  `json:"longest_wait_ms"`
	Connections int    `json:"connections"`
	Pool        int    `json:"pool"`
	Changes     *struct {
		State    string   `json:"state"`
		Lag      int64    `json:"lag_bytes"`
		Error    string   `json:"error"`
		Missing  []string `json:"missing"`
		Warnings []string `json:"warnings"`
	} `json:"changes"`
}

func listDatabases(cmd *cobra.Command, g *globals) error {
	var out struct {
		Databases []databaseInfo `json:"databases"`
	}
	return g.appRaw(cmd.Context(), http.MethodGet, "/databases", nil, &out, func(w io.Writer) {
		var rows [][]string
		for i := range out.Databases {
			rows = append(rows, out.Databases[i].cells())
		}
		table(w, "DATABASE\tENGINE\tSIZE\tREADS\tWRITES\tWAITED\tREFUSED\tLONGEST WAIT\tCONNECTIONS\tEVENTS", rows)
		for i := range out.Databases {
			out.Databases[i].remarks(w)
		}
	})
}

func (d *databaseInfo) cells() []string {
	size, connections, events := "-", "-", "-"
	if d.Engine == "postgres" {
		connections = fmt.Sprintf("%d of %d", d.Connections, d.Pool)
	} else {
		size = mayfly.Bytes(d.Bytes).About()
	}
	if d.Changes != nil {
		events = d.Changes.State
	}
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{d.Database, d.Engine, size, count(d.Reads), count(d.Writes), count(d.Waits), count(d.Refused), fmt.Sprint(d.Longest, "ms"), connections, events}
}

// remarks are what is wrong with a database's events.
func (d *databaseInfo) remarks(w io.Writer) {
	if d.Changes == nil {
		return
	}
	say := func(format string, args ...any) { fmt.Fprintf(w, "\n"+d.Database+": "+format+"\n", args...) }
	if d.Changes.Error != "" {
		say("%s", d.Changes.Error)
	}
	for _, name := range d.Changes.Missing {
		say("functions listen to table %s, which is not there", name)
	}
	for _, warning := range d.Changes.Warnings {
		say("%s", warning)
	}
}

// sqlSession speaks to one database: to SQLite by a Hrana stream, so that
// transactions of the prompt work.
type sqlSession struct {
	g        *globals
	database string
	server   bool // it is PostgreSQL: each statement is by itself
	baton    *string
}

// ask finds out what the database is.
func (s *sqlSession) ask(ctx context.Context) error {
	var out struct {
		Databases []databaseInfo `json:"databases"`
	}
	if err := s.g.appCall(ctx, http.MethodGet, "/databases", nil, &out); err != nil {
		return err
	}
	for i := range out.Databases {
		if d := &out.Databases[i]; d.Database == s.database {
			s.server = d.Engine == "postgres"
		}
	}
	return nil
}

type sqlValue struct {
	Type   string `json:"type"`
	Value  any    `json:"value"`
	Base64 string `json:"base64"`
}

type sqlColumn struct {
	Name string `json:"name"`
}

type sqlResult struct {
	Cols     []sqlColumn  `json:"cols"`
	Rows     [][]sqlValue `json:"rows"`
	Affected int64        `json:"affected_row_count"`
}

// request runs requests on the stream and returns their results.
func (s *sqlSession) request(ctx context.Context, requests ...map[string]any) ([]json.RawMessage, error) {
	var out struct {
		Baton   *string `json:"baton"`
		Results []struct {
			Type     string `json:"type"`
			Response struct {
				Result json.RawMessage `json:"result"`
			} `json:"response"`
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		} `json:"results"`
	}
	err := s.g.appCall(ctx, http.MethodPost, "/databases/"+url.PathEscape(s.database)+"/v3/pipeline", map[string]any{"baton": s.baton, "requests": requests}, &out)
	if err != nil {
		s.baton = nil
		return nil, err
	}
	s.baton = out.Baton
	var results []json.RawMessage
	for _, r := range out.Results {
		if r.Type == "error" {
			return results, mayfly.Errorf(mayfly.Invalid, "", "%s", r.Error.Message)
		}
		results = append(results, r.Response.Result)
	}
	return results, nil
}

func executeRequest(text string) map[string]any {
	return map[string]any{"type": "execute", "stmt": map[string]any{"sql": text}}
}

func (s *sqlSession) close(ctx context.Context) {
	if s.baton != nil {
		_, _ = s.request(context.WithoutCancel(ctx), map[string]any{"type": "close"})
	}
}

// run is one statement and its result.
func (s *sqlSession) run(ctx context.Context, text string) error {
	defer s.close(ctx)
	return s.show(ctx, text)
}

func (s *sqlSession) sequence(ctx context.Context, text string) error {
	if s.server {
		return s.show(ctx, text)
	}
	_, err := s.request(ctx, map[string]any{"type": "sequence", "sql": text}, map[string]any{"type": "close"})
	return err
}

func (s *sqlSession) show(ctx context.Context, text string) error {
	r, err := s.result(ctx, text)
	if err != nil {
		return err
	}
	if s.g.json {
		return s.g.print(r.records(), nil)
	}
	r.write(s.g.out)
	return nil
}

// result is that of one statement.
func (s *sqlSession) result(ctx context.Context, text string) (*sqlResult, error) {
	r := &sqlResult{}
	if !s.server {
		results, err := s.request(ctx, executeRequest(text))
		if err != nil {
			return nil, err
		}
		return r, json.Unmarshal(results[0], r)
	}
	var out struct {
		Columns  []string `json:"columns"`
		Rows     [][]any  `json:"rows"`
		Affected int64    `json:"affected"`
	}
	if err := s.g.appCall(ctx, http.MethodPost, "/databases/"+url.PathEscape(s.database)+"/query", map[string]string{"sql": text}, &out); err != nil {
		return nil, err
	}
	r.Affected = out.Affected
	for _, name := range out.Columns {
		r.Cols = append(r.Cols, sqlColumn{name})
	}
	for _, row := range out.Rows {
		values := make([]sqlValue, len(row))
		for i, v := range row {
			if values[i] = (sqlValue{Type: "text", Value: v}); v == nil {
				values[i].Type = "null"
			}
		}
		r.Rows = append(r.Rows, values)
	}
	return r, nil
}

// records are the rows as JSON objects.
func (r *sqlResult) records() []map[string]any {
	out := []map[string]any{}
	for _, row := range r.Rows {
		record := map[string]any{}
		for i, v := range row {
			record[r.Cols[i].Name] = v.plain()
		}
		out = append(out, record)
	}
	return out
}

func (v *sqlValue) plain() any {
	switch v.Type {
	case "integer":
		return json.Number(fmt.Sprint(v.Value))
	case "blob":
		return map[string]string{"base64": v.Base64}
	case "null":
		return nil
	}
	return v.Value
}

func (v *sqlValue) text() string {
	switch v.Type {
	case "null":
		return "NULL"
	case "blob":
		return fmt.Sprintf("<%d bytes>", len(v.Base64)*3/4)
	}
	return shorten(fmt.Sprint(v.Value), 80)
}

func (r *sqlResult) write(w io.Writer) {
	if len(r.Cols) == 0 {
		if r.Affected > 0 {
			fmt.Fprintf(w, "%d rows changed\n", r.Affected)
		}
		return
	}
	names := make([]string, len(r.Cols))
	for i, c := range r.Cols {
		names[i] = c.Name
	}
	var rows [][]string
	for _, row := range r.Rows {
		cells := make([]string, len(row))
		for i := range row {
			cells[i] = row[i].text()
		}
		rows = append(rows, cells)
	}
	table(w, strings.Join(names, "\t"), rows)
	fmt.Fprintf(w, "(%d rows)\n", len(r.Rows))
}

const sqlHelp = `A statement ends with ";". Also:
  .tables          the tables
  .schema [TABLE]  how they were made
  .help            this
  .quit            or Ctrl-D
`

// prompt reads statements until the end of input.
func (s *sqlSession) prompt(ctx context.Context) error {
	defer s.close(ctx)
	line := liner.NewLiner()
	defer line.Close()
	line.SetCtrlCAborts(true)
	history := historyFile()
	if f, err := os.Open(history); err == nil {
		_, _ = line.ReadHistory(f)
		_ = f.Close()
	}
	defer saveHistory(line, history)
	fmt.Fprintf(s.g.out, "database %s; .help for help\n", s.database)
	pending := ""
	for ctx.Err() == nil {
		ask := s.database + "> "
		if pending != "" {
			ask = strings.Repeat(" ", len(s.database)-1) + "...> "
		}
		input, err := line.Prompt(ask)
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			pending = ""
			continue
		case err != nil:
			fmt.Fprintln(s.g.out)
			return nil
		}
		text := strings.TrimSpace(pending + "\n" + input)
		if text == "" {
			continue
		}
		if text == ".quit" || text == ".exit" {
			return nil
		}
		if !strings.HasPrefix(text, ".") && !strings.HasSuffix(text, ";") {
			pending = text
			continue
		}
		pending = ""
		line.AppendHistory(strings.Join(strings.Fields(text), " "))
		if err := s.command(ctx, text); err != nil {
			fmt.Fprintln(s.g.err, describe(err))
		}
	}
	return nil
}

func (s *sqlSession) command(ctx context.Context, text string) error {
	name, arg, _ := strings.Cut(text, " ")
	switch name {
	case ".help":
		_, err := io.WriteString(s.g.out, sqlHelp)
		return err
	case ".tables":
		if s.server {
			return s.show(ctx, `SELECT schemaname AS schema, tablename AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename NOT LIKE '\_mayfly\_%' ORDER BY 1, 2`)
		}
		return s.show(ctx, `SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_mayfly\_%' ESCAPE '\' AND name NOT LIKE '\_litestream\_%' ESCAPE '\' ORDER BY name`)
	case ".schema":
		return s.schema(ctx, strings.ReplaceAll(strings.Trim(arg, " ;"), "'", "''"))
	}
	if strings.HasPrefix(name, ".") {
		return mayfly.Errorf(mayfly.Invalid, "", "%s is not known; .help lists what is", name)
	}
	return s.show(ctx, text)
}

// schema shows how tables are made; table is one, or all where it is empty.
func (s *sqlSession) schema(ctx context.Context, table string) error {
	if s.server {
		where := ""
		if table != "" {
			where = " AND table_name = '" + table + "'"
		}
		return s.show(ctx, `SELECT table_schema AS schema, table_name AS table, column_name AS column, data_type AS type, is_nullable AS nullable, column_default AS default FROM information_schema.columns
			WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_name NOT LIKE '\_mayfly\_%'`+where+` ORDER BY 1, 2, ordinal_position`)
	}
	where := ""
	if table != "" {
		where = " AND tbl_name = '" + table + "'"
	}
	r, err := s.result(ctx, `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\_mayfly\_%' ESCAPE '\' AND name NOT LIKE '\_litestream\_%' ESCAPE '\'`+where+" ORDER BY tbl_name, type DESC")
	if err != nil {
		return err
	}
	for _, row := range r.Rows {
		fmt.Fprintf(s.g.out, "%v;\n", row[0].Value)
	}
	return nil
}

func historyFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mayfly", "sql-history")
}

func saveHistory(line *liner.State, file string) {
	if file == "" || os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = line.WriteHistory(f)
	_ = f.Close()
}
