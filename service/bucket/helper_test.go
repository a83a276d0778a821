package bucket

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/versity/versitygw/s3response"
	"go.uber.org/goleak"
)

func s3PutInput(folder, key, body string) s3response.PutObjectInput {
	size := int64(len(body))
	return s3response.PutObjectInput{Bucket: &folder, Key: &key, Body: strings.NewReader(body), ContentLength: &size}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		http.DefaultClient.CloseIdleConnections()
		if err := goleak.Find(
			// fasthttp's cleaner of idle workers wakes every 10 s and then ends.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"), // one for the process
		); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
