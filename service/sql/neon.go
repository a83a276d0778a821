package sql

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
)

// The protocol of @neondatabase/serverless over HTTP: one statement, or several
// as one transaction; values are text and rows are lists, which is how the
// client asks for them.

type neonInput struct {
	Path
	Isolation  string `header:"Neon-Batch-Isolation-Level"`
	ReadOnly   string `header:"Neon-Batch-Read-Only"`
	Deferrable string `header:"Neon-Batch-Deferrable"`
	RawBody    []byte
}

type neonOutput struct {
	Status int
	Body   any
}

type neonError struct {
	Message    string `json:"message"`
	Severity   string `json:"severity,omitempty"`
	Code       string `json:"code,omitempty"`
	Detail     string `json:"detail,omitempty"`
	Hint       string `json:"hint,omitempty"`
	Schema     string `json:"schema,omitempty"`
	Table      string `json:"table,omitempty"`
	Column     string `json:"column,omitempty"`
	Constraint string `json:"constraint,omitempty"`
}

func (d *Driver) neon(ctx context.Context, in *neonInput) (*neonOutput, error) {
	p, write, err := d.openPostgres(ctx, mayfly.AppName(in.App), in.Database)
	if err != nil {
		return nil, err
	}
	var body struct {
		Queries []pgQuery `json:"queries"`
		pgQuery
	}
	if err := json.Unmarshal(in.RawBody, &body); err != nil || len(body.Queries) > 1000 {
		return nil, mayfly.Errorf(mayfly.Invalid, "read statements", "the body has a query with params, or up to 1000 queries")
	}
	var out any
	if body.Queries != nil {
		mode, e := in.mode(write)
		if e != nil {
			return nil, e
		}
		results, e := p.transaction(ctx, body.Queries, mode)
		out, err = map[string]any{"results": results}, e
	} else {
		out, err = p.once(ctx, &body.pgQuery, write)
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return &neonOutput{http.StatusBadRequest, neonError{e.Message, e.Severity, e.Code, e.Detail, e.Hint, e.SchemaName, e.TableName, e.ColumnName, e.ConstraintName}}, nil
	}
	if code := mayfly.CodeOf(err); code == mayfly.Denied || code == mayfly.TooLarge || code == mayfly.Invalid {
		return &neonOutput{http.StatusBadRequest, neonError{Message: mayfly.MessageOf(err), Code: string(code)}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &neonOutput{http.StatusOK, out}, nil
}

var isolations = map[string]string{
	"": "", "ReadUncommitted": "ISOLATION LEVEL READ UNCOMMITTED", "ReadCommitted": "ISOLATION LEVEL READ COMMITTED",
	"RepeatableRead": "ISOLATION LEVEL REPEATABLE READ", "Serializable": "ISOLATION LEVEL SERIALIZABLE",
}

// mode is what follows BEGIN.
func (in *neonInput) mode(write bool) (string, error) {
	level, ok := isolations[in.Isolation]
	if !ok {
		return "", mayfly.Errorf(mayfly.Invalid, "begin transaction", "%q is not an isolation level", in.Isolation)
	}
	if !write || strings.EqualFold(in.ReadOnly, "true") {
		if level != "" {
			return level + ", READ ONLY", nil
		}
		return "READ ONLY", nil
	}
	if strings.EqualFold(in.Deferrable, "true") {
		return strings.TrimSpace(level + " DEFERRABLE"), nil
	}
	return level, nil
}
