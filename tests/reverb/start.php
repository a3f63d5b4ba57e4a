<?php

/*
 * Runs a command of artisan, or with `php -S` an endpoint that authorizes channels, in the Laravel application of the
 * folder REVERB_APPLICATION, with the settings of REVERB_SETTINGS: JSON, keys as config('...') has them.
 */

use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Bootstrap\LoadConfiguration;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Broadcast;
use Symfony\Component\Console\Input\ArgvInput;

$folder = getenv('REVERB_APPLICATION');
chdir($folder);

require $folder.'/vendor/autoload.php';

$app = require $folder.'/bootstrap/app.php';

$app->afterBootstrapping(LoadConfiguration::class, function ($app) {
    foreach (json_decode(getenv('REVERB_SETTINGS'), true, flags: JSON_THROW_ON_ERROR) as $key => $value) {
        $app['config']->set($key, $value);
    }
});

if (PHP_SAPI === 'cli') {
    exit($app->handleCommand(new ArgvInput(['artisan', ...array_slice($argv, 1)])));
}

// The built-in server of PHP: every request is one for an authorization, by the user whom the bearer token names.
$app->booted(function () {
    Broadcast::channel('orders.{id}', fn ($user, $id) => $user->id === $id);
    Broadcast::channel('room.{id}', fn ($user, $id) => ['name' => ucfirst($user->id)]);
    Broadcast::channel('empty.{id}', fn ($user, $id) => []);
    Broadcast::channel('deals', fn ($user) => true);
});
$request = Request::capture();
$app->instance('request', $request);
$app->make(Kernel::class)->bootstrap();
$token = $request->bearerToken();
$request->setUserResolver(fn () => $token === null ? null : new Illuminate\Auth\GenericUser(['id' => $token]));

try {
    $answer = $app->make('router')->prepareResponse($request, Broadcast::auth($request));
} catch (Symfony\Component\HttpKernel\Exception\HttpException $error) {
    $answer = response()->json(['message' => $error->getMessage()], $error->getStatusCode());
}
$answer->send();
