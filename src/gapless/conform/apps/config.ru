# The app under test, for Rack.
sleep ENV.fetch("CONFORM_BOOT", "0").to_f
raise "the app cannot load, as it was told to" if ENV["CONFORM_BROKEN"]

HEADERS = { "gapless-release" => ENV.fetch("GAPLESS_RELEASE", ""), "content-type" => "text/plain" }.freeze

# Works when the response is out.
class After
  def initialize(seconds)
    @seconds = seconds
  end

  def each
    yield "ok"
  end

  def close
    sleep @seconds
    $stdout.syswrite "after: done\n"
  end
end

run(lambda do |env|
  seconds = env["QUERY_STRING"].to_f
  sized = ->(status, body) { [status, HEADERS.merge("content-length" => body.bytesize.to_s), [body]] }
  case env["PATH_INFO"]
  when "/" then sized.call(200, "ok")
  when "/slow"
    sleep seconds
    sized.call(200, "ok")
  when "/echo" then sized.call(200, env["rack.input"].read)
  when "/large" then sized.call(200, "x" * (8 << 20))
  when "/begin"
    [200, HEADERS.dup, Enumerator.new { |out| out << "begun "; sleep seconds; out << "ok" }]
  when "/events"
    [200, HEADERS.dup, Enumerator.new { |out| loop { out << "data: tick\n\n"; sleep 0.1 } }]
  when "/after" then [200, HEADERS.merge("content-length" => "2"), After.new(seconds)]
  else sized.call(404, "no such path")
  end
end)
