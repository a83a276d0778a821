package telemetry

import (
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Sample is one value of a metric query.
type Sample struct {
	Labels map[string]string
	Value  float64
	Time   time.Time
}

// PointKind says how values of a custom metric come together.
type PointKind int

const (
	PointGauge      PointKind = iota // the latest counts
	PointDelta                       // what was added since the one before
	PointCumulative                  // the sum since its stream began
)

// Point is a value of a metric that a function reports itself.
type Point struct {
	App      mayfly.AppName
	Function mayfly.FunctionName
	Name     string            // as Prometheus has it, or OpenTelemetry with dots
	Labels   map[string]string // without app and function
	Kind     PointKind
	Value    float64
	Stream   string // of a cumulative point: who counts; a new one begins at 0
	Help     string
	Time     time.Time
}

// Points takes custom metrics. It must not block for long.
type Points interface {
	Points([]Point)
}
