package sql

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/mayfly-cloud/mayfly"
)

// The Hrana protocol over HTTP, versions 2 and 3, in JSON:
// https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md

// PipelineRequest is the body of a pipeline.
type PipelineRequest struct {
	Baton    *string         `json:"baton,omitempty"`
	Requests []StreamRequest `json:"requests" maxItems:"1000"`
}

// StreamRequest is one request of a pipeline.
type StreamRequest struct {
	Type  string      `json:"type" enum:"execute,batch,sequence,describe,store_sql,close_sql,get_autocommit,close"`
	Stmt  *HranaStmt  `json:"stmt,omitempty"`
	Batch *HranaBatch `json:"batch,omitempty"`
	SQL   *string     `json:"sql,omitempty"`
	SQLID *int32      `json:"sql_id,omitempty"`
}

// HranaStmt is a statement.
type HranaStmt struct {
	SQL       *string      `json:"sql,omitempty"`
	SQLID     *int32       `json:"sql_id,omitempty"`
	Args      []HranaValue `json:"args,omitempty"`
	NamedArgs []struct {
		Name  string     `json:"name"`
		Value HranaValue `json:"value"`
	} `json:"named_args,omitempty"`
	WantRows         *bool   `json:"want_rows,omitempty"`
	ReplicationIndex *string `json:"replication_index,omitempty"`
}

// HranaBatch is steps that run as their conditions say.
type HranaBatch struct {
	Steps            []HranaStep `json:"steps" maxItems:"1000"`
	ReplicationIndex *string     `json:"replication_index,omitempty"`
}

// HranaStep is one step of a batch.
type HranaStep struct {
	Condition json.RawMessage `json:"condition,omitempty"` // a hranaCondition or null
	Stmt      HranaStmt       `json:"stmt"`
}

type hranaCondition struct {
	Type  string            `json:"type"`
	Step  int               `json:"step"`
	Cond  *hranaCondition   `json:"cond"`
	Conds []*hranaCondition `json:"conds"`
}

// HranaValue is a value: integers are text, blobs are base64.
type HranaValue struct {
	Type   string          `json:"type" enum:"null,integer,float,text,blob"`
	Value  json.RawMessage `json:"value,omitempty"`
	Base64 *string         `json:"base64,omitempty"`
}

// PipelineResponse is the answer to a pipeline.
type PipelineResponse struct {
	Baton   *string        `json:"baton"`
	BaseURL *string        `json:"base_url"`
	Results []StreamResult `json:"results"`
}

// StreamResult is the answer to one request.
type StreamResult struct {
	Type     string          `json:"type"` // ok or error
	Response *StreamResponse `json:"response,omitempty"`
	Error    *HranaError     `json:"error,omitempty"`
}

// StreamResponse is what a request that succeeded returned.
type StreamResponse struct {
	Type         string `json:"type"`
	Result       any    `json:"result,omitempty"`
	IsAutocommit *bool  `json:"is_autocommit,omitempty"`
}

// HranaError is a failed request or step.
type HranaError struct {
	Message string `json:"message"`
	Code    string `json:"code,omitempty"`
}

type hranaResult struct {
	Cols             []hranaCol     `json:"cols"`
	Rows             [][]HranaValue `json:"rows"`
	AffectedRowCount int64          `json:"affected_row_count"`
	LastInsertRowID  *string        `json:"last_insert_rowid"`
	ReplicationIndex *string        `json:"replication_index"`
	RowsRead         int            `json:"rows_read"`
	RowsWritten      int64          `json:"rows_written"`
	QueryDuration    float64        `json:"query_duration_ms"`
}

type hranaCol struct {
	Name     string  `json:"name"`
	DeclType *string `json:"decltype"`
}

type hranaBatchResult struct {
	StepResults      []*hranaResult `json:"step_results"`
	StepErrors       []*HranaError  `json:"step_errors"`
	ReplicationIndex *string        `json:"replication_index"`
}

type hranaDescribe struct {
	Params     []struct{} `json:"params"`
	Cols       []hranaCol `json:"cols"`
	IsExplain  bool       `json:"is_explain"`
	IsReadonly bool       `json:"is_readonly"`
}

// pipeline runs the requests of one HTTP request on a stream.
func (d *Driver) pipeline(ctx context.Context, db *database, write bool, in *PipelineRequest) (*PipelineResponse, error) {
	st, err := d.stream(ctx, db, write, in.Baton)
	if err != nil {
		return nil, err
	}
	defer st.mu.Unlock()
	out := &PipelineResponse{Results: make([]StreamResult, 0, len(in.Requests))}
	for i := range in.Requests {
		out.Results = append(out.Results, st.answer(ctx, &in.Requests[i]))
	}
	if ctx.Err() != nil { // nobody will come back with the baton
		st.rollback("the client went away")
		return nil, ctx.Err()
	}
	if st.dropped {
		return out, nil
	}
	baton, err := d.streams.keep(st)
	if err != nil {
		st.rollback("the stream could not be kept")
		return nil, err
	}
	out.Baton = &baton
	return out, nil
}

// stream is that of the baton, or a new one, locked.
func (d *Driver) stream(ctx context.Context, db *database, write bool, baton *string) (*stream, error) {
	who := mayfly.CallerFrom(ctx)
	if baton != nil && *baton != "" {
		return d.streams.take(db, who, *baton)
	}
	st := &stream{db: db, who: who, write: write, texts: map[int32]string{}}
	st.mu.Lock()
	return st, nil
}

func (st *stream) answer(ctx context.Context, in *StreamRequest) StreamResult {
	r := &StreamResponse{Type: in.Type}
	err := st.handle(ctx, in, r)
	if err != nil {
		return StreamResult{Type: "error", Error: hranaError(err)}
	}
	return StreamResult{Type: "ok", Response: r}
}

func (st *stream) handle(ctx context.Context, in *StreamRequest, out *StreamResponse) error {
	switch in.Type {
	case "execute":
		if in.Stmt == nil {
			return mayfly.Errorf(mayfly.Invalid, "execute", "stmt is missing")
		}
		r, err := st.hranaExecute(ctx, in.Stmt)
		out.Result = r
		return err
	case "batch":
		if in.Batch == nil {
			return mayfly.Errorf(mayfly.Invalid, "batch", "batch is missing")
		}
		r, err := st.hranaBatch(ctx, in.Batch)
		out.Result = r
		return err
	case "sequence":
		text, err := st.text(in.SQL, in.SQLID)
		if err != nil {
			return err
		}
		return st.sequence(ctx, text)
	case "describe":
		text, err := st.text(in.SQL, in.SQLID)
		if err != nil {
			return err
		}
		if _, err := st.describe(ctx, text); err != nil {
			return err
		}
		out.Result = hranaDescribe{Params: []struct{}{}, Cols: []hranaCol{}, IsReadonly: reads[verb(text)], IsExplain: verb(text) == "EXPLAIN"}
	case "store_sql":
		if in.SQL == nil || in.SQLID == nil || len(st.texts) >= maxTexts {
			return mayfly.Errorf(mayfly.Invalid, "store_sql", "sql and sql_id are needed, and a stream keeps %d texts at most", maxTexts)
		}
		st.texts[*in.SQLID] = *in.SQL
	case "close_sql":
		if in.SQLID != nil {
			delete(st.texts, *in.SQLID)
		}
	case "get_autocommit":
		is := st.autocommit()
		out.IsAutocommit = &is
	case "close":
		st.dropped = true
		st.rollback("the stream was closed")
	default:
		return mayfly.Errorf(mayfly.Invalid, "pipeline", "%q is not a request", in.Type)
	}
	return nil
}

func (st *stream) text(sql *string, id *int32) (string, error) {
	if sql != nil {
		return *sql, nil
	}
	if id != nil {
		if text, ok := st.texts[*id]; ok {
			return text, nil
		}
	}
	return "", mayfly.Errorf(mayfly.Invalid, "read statement", "neither sql nor a stored sql_id is given")
}

func (st *stream) hranaExecute(ctx context.Context, in *HranaStmt) (*hranaResult, error) {
	text, err := st.text(in.SQL, in.SQLID)
	if err != nil {
		return nil, err
	}
	s := &Statement{SQL: text}
	for i := range in.Args {
		v, err := in.Args[i].value()
		if err != nil {
			return nil, err
		}
		s.Args = append(s.Args, v)
	}
	for i := range in.NamedArgs {
		if s.Named == nil {
			s.Named = map[string]Value{}
		}
		if s.Named[in.NamedArgs[i].Name], err = in.NamedArgs[i].Value.value(); err != nil {
			return nil, err
		}
	}
	r, err := st.execute(ctx, s)
	if err != nil {
		return nil, err
	}
	return encodeResult(r, in.WantRows == nil || *in.WantRows), nil
}

func encodeResult(r *Result, rows bool) *hranaResult {
	out := &hranaResult{Cols: []hranaCol{}, Rows: [][]HranaValue{}, AffectedRowCount: r.Affected, RowsRead: len(r.Rows), RowsWritten: r.Affected}
	for _, c := range r.Columns {
		col := hranaCol{Name: c.Name}
		if c.Type != "" {
			col.DeclType = &c.Type
		}
		out.Cols = append(out.Cols, col)
	}
	if r.wrote {
		id := strconv.FormatInt(r.LastID, 10)
		out.LastInsertRowID = &id
	}
	if !rows {
		return out
	}
	for _, row := range r.Rows {
		values := make([]HranaValue, len(row))
		for i, v := range row {
			values[i] = encodeValue(v)
		}
		out.Rows = append(out.Rows, values)
	}
	return out
}

func encodeValue(v Value) HranaValue {
	raw := func(v any) json.RawMessage { b, _ := json.Marshal(v); return b }
	switch v := v.(type) {
	case int64:
		return HranaValue{Type: "integer", Value: raw(strconv.FormatInt(v, 10))}
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) { // JSON has no such number
			return HranaValue{Type: "text", Value: raw(strconv.FormatFloat(v, 'g', -1, 64))}
		}
		return HranaValue{Type: "float", Value: raw(v)}
	case string:
		return HranaValue{Type: "text", Value: raw(v)}
	case []byte:
		s := base64.RawStdEncoding.EncodeToString(v)
		return HranaValue{Type: "blob", Base64: &s}
	case nil:
		return HranaValue{Type: "null"}
	}
	return HranaValue{Type: "text", Value: raw(v)}
}

func (v *HranaValue) value() (Value, error) {
	wrong := func() error {
		return mayfly.Errorf(mayfly.Invalid, "read argument", "%s is not a value of type %q", v.Value, v.Type)
	}
	switch v.Type {
	case "null":
		return nil, nil
	case "integer":
		var s string
		if json.Unmarshal(v.Value, &s) != nil {
			s = string(v.Value) // a bare number is accepted too
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, wrong()
		}
		return n, nil
	case "float":
		var f float64
		if json.Unmarshal(v.Value, &f) != nil {
			return nil, wrong()
		}
		return f, nil
	case "text":
		var s string
		if json.Unmarshal(v.Value, &s) != nil {
			return nil, wrong()
		}
		return s, nil
	case "blob":
		if v.Base64 == nil {
			return nil, wrong()
		}
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			if b, err := enc.DecodeString(*v.Base64); err == nil {
				return b, nil
			}
		}
	}
	return nil, wrong()
}

func (st *stream) hranaBatch(ctx context.Context, in *HranaBatch) (*hranaBatchResult, error) {
	n := len(in.Steps)
	out := &hranaBatchResult{StepResults: make([]*hranaResult, n), StepErrors: make([]*HranaError, n)}
	for i := range in.Steps {
		step := &in.Steps[i]
		var when *hranaCondition
		if len(step.Condition) > 0 {
			if err := json.Unmarshal(step.Condition, &when); err != nil {
				return nil, mayfly.Errorf(mayfly.Invalid, "batch", "the condition of step %d is not one: %w", i, err)
			}
		}
		ok, err := st.holds(when, i, out, 0)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		r, err := st.hranaExecute(ctx, &step.Stmt)
		if out.StepResults[i] = r; err != nil {
			out.StepResults[i], out.StepErrors[i] = nil, hranaError(err)
		}
	}
	return out, nil
}

// holds evaluates a step's condition; only earlier steps count.
func (st *stream) holds(c *hranaCondition, step int, done *hranaBatchResult, depth int) (bool, error) {
	if c == nil {
		return true, nil
	}
	if depth > 32 || c.Step < 0 || (c.Type == "ok" || c.Type == "error") && c.Step >= step {
		return false, mayfly.Errorf(mayfly.Invalid, "batch", "a condition may name earlier steps only")
	}
	switch c.Type {
	case "ok":
		return done.StepResults[c.Step] != nil, nil
	case "error":
		return done.StepErrors[c.Step] != nil, nil
	case "not":
		ok, err := st.holds(c.Cond, step, done, depth+1)
		return !ok && c.Cond != nil, err
	case "is_autocommit":
		return st.autocommit(), nil
	case "and", "or":
		all, some := true, false
		for _, each := range c.Conds {
			ok, err := st.holds(each, step, done, depth+1)
			if err != nil {
				return false, err
			}
			all, some = all && ok, some || ok
		}
		return c.Type == "and" && all || c.Type == "or" && some, nil
	}
	return false, mayfly.Errorf(mayfly.Invalid, "batch", "%q is not a condition", c.Type)
}

// hranaError has SQLite's name for what went wrong where there is one: clients
// look for SQLITE_CONSTRAINT and its like.
func hranaError(err error) *HranaError {
	var s *sqlite.Error
	out := &HranaError{Message: mayfly.MessageOf(err), Code: string(mayfly.CodeOf(err))}
	if errors.As(err, &s) {
		out.Message = s.Error()
		if code := mayfly.CodeOf(err); code == mayfly.Quota || code == mayfly.Denied || code == mayfly.Unavailable {
			out.Message = mayfly.MessageOf(err) // SQLite's words say less
		}
		if name := codeNames[s.Code()&0xff]; name != "" {
			out.Code = name
		}
	}
	return out
}

var codeNames = map[int]string{
	lib.SQLITE_CONSTRAINT: "SQLITE_CONSTRAINT", lib.SQLITE_ERROR: "SQLITE_ERROR", lib.SQLITE_BUSY: "SQLITE_BUSY", lib.SQLITE_FULL: "SQLITE_FULL",
	lib.SQLITE_READONLY: "SQLITE_READONLY", lib.SQLITE_AUTH: "SQLITE_AUTH", lib.SQLITE_MISMATCH: "SQLITE_MISMATCH", lib.SQLITE_TOOBIG: "SQLITE_TOOBIG",
	lib.SQLITE_RANGE: "SQLITE_RANGE", lib.SQLITE_INTERRUPT: "SQLITE_INTERRUPT",
}
