package once

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

// Limits and defaults.
const (
	DefaultTTL   = 24 * time.Hour
	DefaultLease = time.Minute
	MaxTTL       = 30 * 24 * time.Hour
	MaxLease     = 24 * time.Hour
	MaxResult    = 256 << 10
)

// Records keeps values that end, written by compare-and-set. *engine.Bucket is
// one.
type Records interface {
	Get(ctx context.Context, key string) (value []byte, rev uint64, err error)
	PutTTL(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error)
	Delete(ctx context.Context, key string, rev uint64) error
}

// Store keeps first results. It is safe for concurrent use.
type Store struct{ records Records }

// New makes a Store.
func New(records Records) *Store { return &Store{records} }

// State of a key.
type State string

const (
	Fresh   State = "new"
	Running State = "running"
	Done    State = "done"
)

// Key names work: a function's, and what it chose, such as a message's id.
type Key struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Key      string
}

func (k Key) record() string {
	h := sha256.Sum256([]byte(string(k.App) + "\x00" + string(k.Function) + "\x00" + k.Key))
	return hex.EncodeToString(h[:])
}

// entry is what is kept of a key.
type entry struct {
	Token  string          `json:"token"`
	Until  time.Time       `json:"until"` // of the lease
	Ends   time.Time       `json:"ends"`  // of the key
	Done   bool            `json:"done"`
	Result json.RawMessage `json:"result,omitempty"` // where done
}

// Answer is what a begin says.
type Answer struct {
	State  State           `json:"state" enum:"new,running,done"`
	Token  string          `json:"token,omitempty" doc:"new: for complete and abandon"`
	Until  time.Time       `json:"until,omitzero" doc:"new, running: when the lease ends and another call may begin"`
	Result json.RawMessage `json:"result,omitempty" doc:"done: the first result"`
}

// Begin says whether the work of a key is to be done, is being done, or was.
func (s *Store) Begin(ctx context.Context, key Key, lease, ttl time.Duration) (*Answer, error) {
	now := time.Now().UTC()
	for {
		e, rev, err := s.read(ctx, key)
		if err != nil {
			return nil, err
		}
		switch {
		case e != nil && e.Done:
			return &Answer{State: Done, Result: e.Result}, nil
		case e != nil && e.Until.After(now):
			return &Answer{State: Running, Until: e.Until}, nil
		}
		next := &entry{Token: mayfly.NewID(), Until: now.Add(lease), Ends: now.Add(max(ttl, lease))}
		err = s.write(ctx, key, next, rev)
		switch mayfly.CodeOf(err) {
		case "":
			return &Answer{State: Fresh, Token: next.Token, Until: next.Until}, nil
		case mayfly.Conflict: // another call began meanwhile
		default:
			return nil, err
		}
	}
}

// Complete keeps the result of the work. It returns a Conflict error where the
// lease ended and another call began.
func (s *Store) Complete(ctx context.Context, key Key, token string, result json.RawMessage) error {
	if len(result) > MaxResult {
		return mayfly.Errorf(mayfly.TooLarge, "complete", "a result of %d bytes is over the limit of %d", len(result), MaxResult)
	}
	e, rev, err := s.held(ctx, key, token)
	if err != nil {
		return err
	}
	e.Done, e.Result = true, result
	return s.write(ctx, key, e, rev)
}

// Abandon lets the next begin be new.
func (s *Store) Abandon(ctx context.Context, key Key, token string) error {
	_, rev, err := s.held(ctx, key, token)
	if err != nil {
		return err
	}
	return s.records.Delete(ctx, key.record(), rev)
}

func (s *Store) held(ctx context.Context, key Key, token string) (*entry, uint64, error) {
	e, rev, err := s.read(ctx, key)
	switch {
	case err != nil:
		return nil, 0, err
	case e == nil:
		return nil, 0, mayfly.Errorf(mayfly.NotFound, "complete", "nothing was begun under this key")
	case e.Done || e.Token != token:
		return nil, 0, mayfly.Errorf(mayfly.Conflict, "complete", "the lease of this token has ended, and another call began or is done")
	}
	return e, rev, nil
}

func (s *Store) read(ctx context.Context, key Key) (*entry, uint64, error) {
	value, rev, err := s.records.Get(ctx, key.record())
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	e := &entry{}
	return e, rev, json.Unmarshal(value, e)
}

func (s *Store) write(ctx context.Context, key Key, e *entry, rev uint64) error {
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = s.records.PutTTL(ctx, key.record(), value, rev, time.Until(e.Ends))
	return err
}

// Path names a key; exported so that huma fills it.
type Path struct {
	App      mayfly.AppName      `path:"app"`
	Key      string              `path:"key" maxLength:"512" doc:"What names the work, such as a message's id; percent-encode what a path cannot hold"`
	Function mayfly.FunctionName `query:"function" doc:"Whose key; a function has its own and need not say"`
}

type beginInput struct {
	Path
	Body *beginBody // nil: none was sent
}

type beginBody struct {
	Lease string `json:"lease,omitempty" doc:"How long the work may take before another call may begin; default 1m"`
	TTL   string `json:"ttl,omitempty" doc:"How long the result is kept; default 1d"`
}

type beginOutput struct{ Body *Answer }

type completeInput struct {
	Path
	Body struct {
		Token  string          `json:"token"`
		Result json.RawMessage `json:"result,omitempty" doc:"Any JSON"`
	}
}

type abandonInput struct {
	Path
	Token string `query:"token" required:"true"`
}

// Register adds the operations on keys.
func (s *Store) Register(api huma.API) {
	const path = "/v1/apps/{app}/idempotency/{key}"
	op := func(id, method, summary string, status int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Events"}, DefaultStatus: status, MaxBodyBytes: MaxResult + 4096}
	}
	huma.Register(api, op("begin-once", http.MethodPost, "Begin work that is to be done once", http.StatusOK), s.httpBegin)
	huma.Register(api, op("complete-once", http.MethodPut, "Keep the result of the work", http.StatusNoContent), s.httpComplete)
	huma.Register(api, op("abandon-once", http.MethodDelete, "Let the next call begin", http.StatusNoContent), s.httpAbandon)
}

// key is a function's own key, or any for an administrator.
func (in *Path) key(ctx context.Context) (Key, error) {
	who := mayfly.CallerFrom(ctx)
	switch {
	case who.Kind == mayfly.CallerFunction && who.App == in.App && (in.Function == "" || in.Function == who.Function):
		return Key{in.App, who.Function, in.Key}, nil
	case who.Kind == mayfly.CallerAdmin && in.Function != "":
		return Key{in.App, in.Function, in.Key}, nil
	case who.Kind == mayfly.CallerAdmin:
		return Key{}, mayfly.Errorf(mayfly.Invalid, "begin", "say whose key it is: ?function=NAME")
	}
	return Key{}, mayfly.Errorf(mayfly.Denied, "begin", "a function has keys of its own only")
}

func span(s string, def, most time.Duration) (time.Duration, error) {
	if s == "" {
		return def, nil
	}
	d, err := mayfly.ParseDuration(s)
	if err != nil {
		return 0, err
	}
	if d.D() < time.Second || d.D() > most {
		return 0, mayfly.Errorf(mayfly.Invalid, "begin", "%s is not between 1s and %s", d, mayfly.Duration(most))
	}
	return d.D(), nil
}

func (s *Store) httpBegin(ctx context.Context, in *beginInput) (*beginOutput, error) {
	key, err := in.key(ctx)
	if err != nil {
		return nil, err
	}
	body := beginBody{}
	if in.Body != nil {
		body = *in.Body
	}
	lease, err := span(body.Lease, DefaultLease, MaxLease)
	if err != nil {
		return nil, err
	}
	ttl, err := span(body.TTL, DefaultTTL, MaxTTL)
	if err != nil {
		return nil, err
	}
	answer, err := s.Begin(ctx, key, lease, ttl)
	return &beginOutput{answer}, err
}

func (s *Store) httpComplete(ctx context.Context, in *completeInput) (*struct{}, error) {
	key, err := in.key(ctx)
	if err != nil {
		return nil, err
	}
	return nil, s.Complete(ctx, key, in.Body.Token, in.Body.Result)
}

func (s *Store) httpAbandon(ctx context.Context, in *abandonInput) (*struct{}, error) {
	key, err := in.key(ctx)
	if err != nil {
		return nil, err
	}
	return nil, s.Abandon(ctx, key, in.Token)
}
