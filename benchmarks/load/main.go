// Command load asks one HTTP/1.1 address again and again over a fixed number of keep-alive connections (a closed loop)
// and prints requests per second and latencies as JSON. It opens a connection anew when the server asks for it, and
// counts every answer that is not 200. Requests are prebuilt bytes: the server under test should be the busy one.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

type tally struct {
	latencies []time.Duration
	failed    int
}

func main() {
	address := flag.String("address", "", "host:port")
	path := flag.String("path", "/", "path of the POST")
	bodies := flag.String("bodies", "", "file with one JSON body a line, sent in turn")
	connections := flag.Int("connections", 1, "open connections")
	seconds := flag.Float64("seconds", 2, "how long")
	flag.Parse()
	raw, err := os.ReadFile(*bodies)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	var requests [][]byte
	for _, body := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		head := "POST %s HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
		requests = append(requests, []byte(fmt.Sprintf(head, *path, len(body), body)))
	}
	until := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	results := make(chan tally)
	started := time.Now()
	for i := range *connections {
		go func() { results <- ask(*address, requests, i, until) }()
	}
	var all tally
	for range *connections {
		one := <-results
		all.latencies = append(all.latencies, one.latencies...)
		all.failed += one.failed
	}
	took := time.Since(started).Seconds()
	sort.Slice(all.latencies, func(i, j int) bool { return all.latencies[i] < all.latencies[j] })
	at := func(share float64) float64 {
		if len(all.latencies) == 0 {
			return 0
		}
		return all.latencies[int(share*float64(len(all.latencies)-1))].Seconds() * 1000
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"rate": float64(len(all.latencies)) / took, "requests": len(all.latencies), "failed": all.failed,
		"p50_ms": at(0.5), "p99_ms": at(0.99),
	})
}

func ask(address string, requests [][]byte, at int, until time.Time) (done tally) {
	var connection net.Conn
	var reader *bufio.Reader
	for ; time.Now().Before(until); at++ {
		if connection == nil {
			var err error
			if connection, err = net.Dial("tcp", address); err != nil {
				done.failed++
				continue
			}
			reader = bufio.NewReaderSize(connection, 64<<10)
		}
		sent := time.Now()
		_, err := connection.Write(requests[at%len(requests)])
		status, closing := 0, true
		if err == nil {
			status, closing, err = answer(reader)
		}
		if err != nil || status != 200 {
			done.failed++
		} else {
			done.latencies = append(done.latencies, time.Since(sent))
		}
		if err != nil || closing {
			connection.Close()
			connection = nil
		}
	}
	return done
}

// answer reads one response: its status, and whether the connection ends with it.
func answer(reader *bufio.Reader) (status int, closing bool, err error) {
	line, err := reader.ReadString('\n')
	if err != nil || len(line) < 12 {
		return 0, true, err
	}
	status, _ = strconv.Atoi(line[9:12])
	length := 0
	for {
		if line, err = reader.ReadString('\n'); err != nil {
			return status, true, err
		}
		if line = strings.ToLower(strings.TrimSpace(line)); line == "" {
			break
		}
		if value, found := strings.CutPrefix(line, "content-length:"); found {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		closing = closing || line == "connection: close"
	}
	_, err = io.CopyN(io.Discard, reader, int64(length))
	return status, closing, err
}
