package meter

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
)

func TestAPI(t *testing.T) {
	inv := &mayfly.Invocation{ID: "i", App: "shop", Function: "pay", Version: 1, Outcome: mayfly.OutcomeOK, Start: time.Now(), Memory: mayfly.GiB, Billed: time.Second}
	l := open(t, t.TempDir(), func(c *Config) {
		c.Calls = func(_ context.Context, id string) ([]*mayfly.Invocation, error) {
			if id != "i" {
				return nil, mayfly.Errorf(mayfly.NotFound, "", "no")
			}
			return []*mayfly.Invocation{inv, inv}, nil
		}
	})
	l.Invocation(inv)
	if err := l.Apply(t.Context(), []*mayfly.Manifest{{App: "shop", Budget: &mayfly.Budget{Amount: 1}}}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("test", "1")
	cfg.CreateHooks = nil
	l.Register(humago.New(mux, cfg))
	get := func(who mayfly.CallerKind, path string) (int, map[string]any) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(r.Context(), mayfly.Caller{Kind: who})))
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return w.Code, body
	}
	for path, check := range map[string]func(map[string]any) any{
		"/v1/usage?by=version&since=1h": func(b map[string]any) any {
			return b["rows"].([]any)[0].(map[string]any)["usage"].(map[string]any)["kib_ms"] == float64(1<<20*1000)
		},
		"/v1/cost?prices=node&by=app,day": func(b map[string]any) any {
			return b["prices"] == "node" && b["total"].(map[string]any)["total"].(float64) > 1.7e-6 && b["forecast"] != nil
		},
		"/v1/cost/calls/i": func(b map[string]any) any { return b["calls"] == float64(2) && len(b["costs"].(map[string]any)) == 6 },
		"/v1/prices":       func(b map[string]any) any { return len(b["sheets"].([]any)) == 6 },
		"/v1/budgets":      func(b map[string]any) any { return b["budgets"].([]any)[0].(map[string]any)["app"] == "shop" },
	} {
		if code, body := get(mayfly.CallerAdmin, path); code != http.StatusOK || check(body) != true {
			t.Errorf("%s: %d %v", path, code, body)
		}
		if code, _ := get(mayfly.CallerFunction, path); code == http.StatusOK {
			t.Errorf("%s was answered to a function", path)
		}
	}
	if code, _ := get(mayfly.CallerAdmin, "/v1/cost?prices=nobody"); code == http.StatusOK {
		t.Error("an unknown price sheet was answered")
	}
	if code, _ := get(mayfly.CallerAdmin, "/v1/cost/calls/unknown"); code == http.StatusOK {
		t.Error("an unknown call was answered")
	}
}
