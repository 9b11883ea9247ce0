# frozen_string_literal: true

run lambda { |env|
  headers = { "content-type" => "text/plain", "gapless-release" => ENV.fetch("GAPLESS_RELEASE", "") }
  [200, headers, [env["PATH_INFO"] == "/health" ? "ok\n" : "hello\n"]]
}
