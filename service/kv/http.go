package kv

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// StorePath is the part of a path that names a store; exported so that huma
// fills it.
type StorePath struct {
	App   string `path:"app" doc:"The app that declares the store"`
	Store string `path:"store" doc:"The store's name"`
}

// KeyPath names a key of a store.
type KeyPath struct {
	StorePath
	Key string `path:"key" doc:"The key; percent-encode what a path cannot hold"`
}

type getOutput struct {
	ContentType string `header:"Content-Type"`
	ETag        string `header:"ETag" doc:"The revision, quoted"`
	Revision    uint64 `header:"Mayfly-Revision"`
	Expires     string `header:"Mayfly-Expires" doc:"When the value ends, RFC 3339; absent: never"`
	Body        []byte
}

type putInput struct {
	KeyPath
	TTL         string `query:"ttl" doc:"How long the value lives, such as 90s or 7d; 0 for ever; default: the store's"`
	ContentType string `header:"Content-Type"`
	IfMatch     string `header:"If-Match" doc:"Only where the key has this revision"`
	IfNone      string `header:"If-None-Match" doc:"\"*\": only where the key is not there"`
	RawBody     []byte
}

type deleteInput struct {
	KeyPath
	IfMatch string `header:"If-Match" doc:"Only where the key has this revision"`
}

type incrementInput struct {
	KeyPath
	By  int64  `query:"by" default:"1" doc:"What to add; may be negative"`
	TTL string `query:"ttl" doc:"Default: what the number has, or else the store's"`
}

type resultOutput struct {
	Body struct {
		Revision uint64 `json:"revision"`
		Found    bool   `json:"found" doc:"The key was there before"`
		Value    *int64 `json:"value,omitempty" doc:"Of an increment: the new number"`
	}
}

type listInput struct {
	StorePath
	Prefix string `query:"prefix"`
	After  string `query:"after" doc:"Keys above this one: next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Values bool   `query:"values" doc:"With the values"`
}

type listOutput struct {
	Body struct {
		Keys []keyJSON `json:"keys"`
		Next string    `json:"next,omitempty" doc:"Where the following page begins"`
	}
}

// keyJSON is a key in a listing, a batch's get and a watch. A value of type
// application/json is in Value, any other in Base64.
type keyJSON struct {
	Key         string          `json:"key"`
	Revision    uint64          `json:"revision"`
	Size        int             `json:"size"`
	ContentType string          `json:"content_type,omitempty"`
	Expires     *time.Time      `json:"expires,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	Base64      string          `json:"base64,omitempty"`
}

type batchInput struct {
	StorePath
	Body struct {
		Operations []batchOp `json:"operations" minItems:"1" maxItems:"128"`
	}
}

type batchOp struct {
	Op          string          `json:"op" enum:"put,delete,increment,check" doc:"check fails the batch where its revision does not hold"`
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value,omitempty" doc:"put: a JSON value"`
	Base64      string          `json:"base64,omitempty" doc:"put: or any bytes"`
	ContentType string          `json:"content_type,omitempty"`
	TTL         string          `json:"ttl,omitempty"`
	By          *int64          `json:"by,omitempty" doc:"increment: default 1"`
	Revision    *uint64         `json:"revision,omitempty" doc:"Only where the key has this revision; 0: where it is not there"`
}

type batchOutput struct {
	Body struct {
		Results []batchResult `json:"results"`
	}
}

type batchResult struct {
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
	Found    bool   `json:"found"`
	Value    *int64 `json:"value,omitempty"`
}

type watchInput struct {
	StorePath
	Prefix string `query:"prefix"`
}

type statsOutput struct {
	Body struct {
		Stores []Stats `json:"stores"`
	}
}

// Register adds the service's operations.
func (d *Driver) Register(api huma.API) {
	const base = "/v1/apps/{app}/kv"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{"Key-value"}, MaxBodyBytes: 4 << 20}
	}
	huma.Register(api, op("list-kv-stores", http.MethodGet, "", "List an app's stores"), d.getStats)
	huma.Register(api, op("get-kv", http.MethodGet, "/{store}/keys/{key...}", "Get a value as it was put"), d.getKey)
	huma.Register(api, op("put-kv", http.MethodPut, "/{store}/keys/{key...}", "Put a value of any type"), d.putKey)
	huma.Register(api, op("delete-kv", http.MethodDelete, "/{store}/keys/{key...}", "Delete a key"), d.deleteKey)
	huma.Register(api, op("increment-kv", http.MethodPost, "/{store}/increment/{key...}", "Add to a whole number, atomically"), d.incrementKey)
	huma.Register(api, op("list-kv", http.MethodGet, "/{store}/keys", "List keys in order, by page"), d.listKeys)
	huma.Register(api, op("batch-kv", http.MethodPost, "/{store}/batch", "Do all of several operations, or none"), d.batch)
	huma.Register(api, op("watch-kv", http.MethodGet, "/{store}/watch", "Watch writes from now on, as server-sent events"), d.watchKeys)
}

func (d *Driver) allow(ctx context.Context, p StorePath, verb string) (mayfly.AppName, error) {
	app := mayfly.AppName(p.App)
	return app, d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), app, verb, service.KindKV, p.Store)
}

func (d *Driver) getStats(ctx context.Context, in *struct {
	App string `path:"app"`
}) (*statsOutput, error) {
	if _, err := d.allow(ctx, StorePath{in.App, "*"}, service.List); err != nil {
		return nil, err
	}
	out := &statsOutput{}
	out.Body.Stores = d.Stats(mayfly.AppName(in.App))
	return out, nil
}

func (d *Driver) getKey(ctx context.Context, in *KeyPath) (*getOutput, error) {
	app, err := d.allow(ctx, in.StorePath, service.Read)
	if err != nil {
		return nil, err
	}
	v, err := d.Get(ctx, app, in.Store, in.Key)
	if err != nil {
		return nil, err
	}
	rev := strconv.FormatUint(v.Revision, 10)
	out := &getOutput{ContentType: v.ContentType, ETag: `"` + rev + `"`, Revision: v.Revision, Body: v.Data}
	if out.Body == nil {
		out.Body = []byte{}
	}
	if !v.Expires.IsZero() {
		out.Expires = v.Expires.UTC().Format(time.RFC3339Nano)
	}
	return out, nil
}

func (d *Driver) putKey(ctx context.Context, in *putInput) (*resultOutput, error) {
	op := Op{Kind: Put, Key: in.Key, Value: in.RawBody, ContentType: in.ContentType}
	return d.oneOp(ctx, in.KeyPath, service.Write, op, in.TTL, in.IfMatch, in.IfNone)
}

func (d *Driver) deleteKey(ctx context.Context, in *deleteInput) (*resultOutput, error) {
	return d.oneOp(ctx, in.KeyPath, service.Delete, Op{Kind: Delete, Key: in.Key}, "", in.IfMatch, "")
}

func (d *Driver) incrementKey(ctx context.Context, in *incrementInput) (*resultOutput, error) {
	return d.oneOp(ctx, in.KeyPath, service.Write, Op{Kind: Increment, Key: in.Key, By: in.By}, in.TTL, "", "")
}

func (d *Driver) oneOp(ctx context.Context, p KeyPath, verb string, op Op, ttl, ifMatch, ifNone string) (*resultOutput, error) {
	app, err := d.allow(ctx, p.StorePath, verb)
	if err != nil {
		return nil, err
	}
	if op.TTL, err = parseTTL(ttl); err != nil {
		return nil, err
	}
	if op.If, err = parseCondition(ifMatch, ifNone); err != nil {
		return nil, err
	}
	results, err := d.Commit(ctx, app, p.Store, []Op{op})
	if err != nil {
		return nil, err
	}
	out := &resultOutput{}
	out.Body.Revision, out.Body.Found = results[0].Revision, results[0].Found
	if op.Kind == Increment {
		out.Body.Value = &results[0].Number
	}
	return out, nil
}

func parseTTL(s string) (*time.Duration, error) {
	if s == "" {
		return nil, nil
	}
	ttl, err := mayfly.ParseDuration(s)
	if err != nil {
		return nil, err
	}
	d := ttl.D()
	return &d, nil
}

func parseCondition(ifMatch, ifNone string) (*uint64, error) {
	switch {
	case ifNone == "*":
		zero := uint64(0)
		return &zero, nil
	case ifNone != "":
		return nil, mayfly.Errorf(mayfly.Invalid, "write key", "If-None-Match can only be \"*\" here")
	case ifMatch == "":
		return nil, nil
	}
	rev, err := strconv.ParseUint(strings.Trim(ifMatch, `"`), 10, 64)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "write key", "If-Match must be a revision, such as \"7\"")
	}
	return &rev, nil
}

func (d *Driver) listKeys(ctx context.Context, in *listInput) (*listOutput, error) {
	app, err := d.allow(ctx, in.StorePath, service.List)
	if err == nil && in.Values {
		_, err = d.allow(ctx, in.StorePath, service.Read)
	}
	if err != nil {
		return nil, err
	}
	page, next, err := d.List(ctx, app, in.Store, in.Prefix, in.After, in.Limit, in.Values)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Keys, out.Body.Next = make([]keyJSON, len(page)), next
	for i := range page {
		out.Body.Keys[i] = toJSON(page[i].Key, &page[i].Value, in.Values)
	}
	return out, nil
}

func toJSON(key string, v *Value, withValue bool) keyJSON {
	k := keyJSON{Key: key, Revision: v.Revision, Size: v.Size, ContentType: v.ContentType}
	if !v.Expires.IsZero() {
		k.Expires = &v.Expires
	}
	switch {
	case !withValue:
	case isJSON(v.ContentType) && json.Valid(v.Data):
		k.Value = v.Data
	default:
		k.Base64 = base64.StdEncoding.EncodeToString(v.Data)
	}
	return k
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

func (d *Driver) batch(ctx context.Context, in *batchInput) (*batchOutput, error) {
	verbs := map[string]string{"put": service.Write, "increment": service.Write, "check": service.Read, "delete": service.Delete}
	ops := make([]Op, len(in.Body.Operations))
	var app mayfly.AppName
	for i := range in.Body.Operations {
		b := &in.Body.Operations[i]
		var err error
		if app, err = d.allow(ctx, in.StorePath, verbs[b.Op]); err != nil {
			return nil, err
		}
		if ops[i], err = b.op(); err != nil {
			return nil, fmt.Errorf("operation %d of the batch: %w", i, err)
		}
	}
	results, err := d.Commit(ctx, app, in.Store, ops)
	if err != nil {
		return nil, err
	}
	out := &batchOutput{}
	for i := range results {
		r := batchResult{Key: ops[i].Key, Revision: results[i].Revision, Found: results[i].Found}
		if ops[i].Kind == Increment {
			r.Value = &results[i].Number
		}
		out.Body.Results = append(out.Body.Results, r)
	}
	return out, nil
}

func (b *batchOp) op() (Op, error) {
	ttl, err := parseTTL(b.TTL)
	op := Op{Kind: OpKind(b.Op), Key: b.Key, ContentType: b.ContentType, TTL: ttl, If: b.Revision, By: 1}
	if err != nil {
		return op, err
	}
	if b.By != nil {
		op.By = *b.By
	}
	if b.Value != nil {
		op.Value = b.Value
		if op.ContentType == "" {
			op.ContentType = "application/json"
		}
	}
	if b.Base64 != "" {
		if op.Value, err = base64.StdEncoding.DecodeString(b.Base64); err != nil {
			return op, mayfly.Errorf(mayfly.Invalid, "put key "+b.Key, "base64 is not valid")
		}
	}
	return op, nil
}

// watchBeat is how often a silent watch says that it is alive.
const watchBeat = 15 * time.Second

func (d *Driver) watchKeys(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	app, err := d.allow(ctx, in.StorePath, service.Read)
	if err != nil {
		return nil, err
	}
	events, stop, err := d.Watch(app, in.Store, in.Prefix)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer stop()
		hc.SetHeader("Content-Type", "text/event-stream")
		hc.SetHeader("Cache-Control", "no-store")
		w, ok := hc.BodyWriter().(http.ResponseWriter)
		if !ok {
			return
		}
		stream(hc.Context(), w, events)
	}}, nil
}

// stream writes events until the reader is gone or fell behind.
func stream(ctx context.Context, w http.ResponseWriter, events <-chan Event) {
	control := http.NewResponseController(w)
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	text := ": watching\n\n"
	for {
		_ = control.SetWriteDeadline(time.Now().Add(2 * watchBeat)) // where the server can
		if _, err := w.Write([]byte(text)); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			text = ": alive\n\n"
		case e, ok := <-events:
			if !ok {
				_, _ = w.Write([]byte("event: lagged\ndata: {}\n\n"))
				return
			}
			text = e.text()
		}
	}
}

func (e *Event) text() string {
	name := "put"
	if e.Deleted {
		name = "delete"
	}
	data, _ := json.Marshal(toJSON(e.Key, &e.Value, !e.Deleted))
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.Value.Revision, name, data)
}
