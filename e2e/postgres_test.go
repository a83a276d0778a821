package e2e

import (
	"testing"

	"github.com/mayfly-cloud/mayfly/service/sql/sqltest"
)

// postgres starts a PostgreSQL server and returns its DSN, "" where the machine
// has none: what needs it is then left out.
func postgres(t *testing.T) string {
	t.Helper()
	dsn, why := sqltest.Try(t)
	if dsn == "" {
		t.Log(why)
	}
	return dsn
}
