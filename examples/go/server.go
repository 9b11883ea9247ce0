// A net/http server on the held socket.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

var draining, open int64 // read and written atomically

func main() {
	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(hello), IdleTimeout: time.Minute, ConnState: count}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := ready(); err != nil {
		log.Fatal(err)
	}
	<-stop
	// Not Shutdown at once: it closes idle connections, and a request may just be under way on one.
	atomic.StoreInt64(&draining, 1)
	listener.Close()
	<-served
	linger, err := time.ParseDuration(os.Getenv("GAPLESS_LINGER") + "s") // [drain] linger
	if err != nil {
		linger = 35 * time.Second
	}
	for deadline := time.Now().Add(linger); atomic.LoadInt64(&open) > 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	server.Shutdown(context.Background())
}

func hello(w http.ResponseWriter, r *http.Request) {
	if atomic.LoadInt64(&draining) == 1 {
		w.Header().Set("Connection", "close") // its client opens its next connection: to the new release
	}
	w.Header().Set("gapless-release", os.Getenv("GAPLESS_RELEASE"))
	if r.URL.Path == "/health" {
		w.Write([]byte("ok\n"))
		return
	}
	w.Write([]byte("hello\n"))
}

func count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		atomic.AddInt64(&open, 1)
	case http.StateClosed, http.StateHijacked:
		atomic.AddInt64(&open, -1)
	}
}

// listen is the held socket, descriptor 3; without it, an ordinary address: for local work.
func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", "127.0.0.1:8000")
	}
	return net.FileListener(os.NewFile(3, "held"))
}

// ready says READY=1, sd_notify(3).
func ready() error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", name)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1"))
	return err
}
