package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

// problem is mayfly.Problem as huma writes errors. Whoever reads it holds a
// token or is the function itself, and so may see what failed in its code.
type problem struct{ mayfly.Problem }

func (p *problem) GetStatus() int { return p.Status }

func (p *problem) ContentType(string) string { return "application/problem+json" }

// init makes huma write every error as a problem; it offers no hook per API.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if len(errs) > 0 {
			var e *mayfly.Error
			var f *mayfly.FunctionError
			if err := errors.Join(errs...); errors.As(err, &e) || errors.As(err, &f) {
				return &problem{mayfly.ProblemOf(err, true)}
			}
		}
		return &problem{invalid(status, msg, errs)}
	}
	huma.NewErrorWithContext = func(_ huma.Context, status int, msg string, errs ...error) huma.StatusError {
		return huma.NewError(status, msg, errs...)
	}
}

// invalid is what huma itself found wrong with a request, and where.
func invalid(status int, msg string, errs []error) mayfly.Problem {
	code := mayfly.Internal
	switch {
	case status == http.StatusRequestEntityTooLarge:
		code = mayfly.TooLarge
	case status == http.StatusNotFound:
		code = mayfly.NotFound
	case status < 500:
		code = mayfly.Invalid
	}
	p := mayfly.ProblemOf(&mayfly.Error{Code: code, Message: msg}, true)
	if code == mayfly.Internal {
		return p
	}
	var parts []string
	for _, err := range errs {
		var d *huma.ErrorDetail
		if errors.As(err, &d) && d.Location != "" {
			parts = append(parts, d.Location+": "+d.Message)
		} else if err != nil {
			parts = append(parts, err.Error())
		}
	}
	if len(parts) > 0 {
		p.Detail = strings.Join(parts, "; ")
	}
	return p
}

func writeProblem(w http.ResponseWriter, err error) {
	p := mayfly.ProblemOf(err, true)
	body, _ := json.Marshal(p)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Code == mayfly.Unauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="mayfly"`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
